import test from 'ava';
import { keepFilled } from '#shared/keeper/fill-log.ts';
import { append, contents, fillBoth, harmed, openStore, openWorld } from '#test/helpers/archived-log.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { cutLog } from '#test/helpers/log-damage.ts';
import { natsServers } from '#test/helpers/servers.ts';

// What keeps the stack's log filled up, while its containers come and go.

for (const program of natsServers) {
  const on = ` (${program})`;

  test(`at a new start of nats-server the log's lost end comes back, whether a store runs or not${on}`, async (t) => {
    await using world = await openWorld(program);
    const { bus, nats, file } = world;
    await using stack = new AsyncDisposableStack();
    const said: string[] = [];
    keepFilled({ stack, bus, admin: { url: nats.url }, files: [`${file}-none`, file], say: (line) => said.push(line) });
    const first = await openStore(nats, file);
    const last = await fillBoth(world, 0, 60);
    const before = await contents(world);
    await harmed(world, cutLog);
    const seq = await eventually(() => append(bus, 'late'));
    t.is(seq, last + 1);
    const after = await contents(world);
    for (const [at, text] of before) t.is(after.get(at), text);
    t.is(said.length, 1);
    t.regex(said[0] ?? '', /^The log lacked \d+ events at its end/);

    await first[Symbol.asyncDispose]();
    const whole = await contents(world);
    await harmed(world, cutLog);
    await eventually(async () => said.length === 2);
    const again = await contents(world);
    for (const [at, text] of whole) if (at <= last) t.is(again.get(at), text);
  });

  test(`what is for a person is said once, and left alone${on}`, async (t) => {
    await using world = await openWorld(program);
    await using other = await openWorld(program);
    const first = await openStore(world.nats, world.file);
    await fillBoth(world, 0, 5);
    await first[Symbol.asyncDispose]();
    await using stack = new AsyncDisposableStack();
    const said: string[] = [];
    let looks = 0;
    const { gate } = other.bus;
    const state = () => {
      looks += 1;
      return gate.state();
    };
    const admin = { url: other.nats.url };
    keepFilled({
      stack,
      bus: { gate: { ...gate, state } },
      admin,
      files: [world.file],
      say: (line) => said.push(line),
    });
    await eventually(async () => looks >= 2);
    t.is((await other.bus.logSight()).lastSeq, 0);
    t.is(said.length, 1);
    t.regex(said[0] ?? '', /it is empty, and the archive holds/);
  });
}
