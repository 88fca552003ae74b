import { copyFileSync } from 'node:fs';
import test from 'ava';
import { openBus } from '#shared/bus/bus.ts';
import { append, contents, fillBoth, harmed, mend, openStore, openWorld } from '#test/helpers/archived-log.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { cutLog } from '#test/helpers/log-damage.ts';
import { natsServers, passwordOf, startNatsWithUsers } from '#test/helpers/servers.ts';
import { toka } from '#test/helpers/toka.ts';
import { copyArchive } from '../../services/store/copy.ts';
import { createTeller } from '../../services/store/tell-end.ts';

// Several stores, whose archives end differently.

for (const program of natsServers) {
  const on = ` (${program})`;

  /** Two archives, and a log that has lost its end: the first ends before that, the second after it. No store runs. `isOlder`: they are one. */
  async function lostEnd({ isOlder = false } = {}) {
    await using stack = new AsyncDisposableStack();
    const world = stack.use(await openWorld(program));
    const { nats, file: first, bus } = world;
    const second = `${first}-second`;
    const early = await openStore(nats, first);
    await fillBoth(world, 0, 5);
    await early[Symbol.asyncDispose]();
    if (isOlder) copyFileSync(first, second);
    const late = await openStore(nats, second);
    await fillBoth(world, 5, 60);
    await late[Symbol.asyncDispose]();
    const before = await contents(world);
    const ends = await bus.archives.list();
    await harmed(world, cutLog);
    await eventually(() => bus.connected());
    const left = (await bus.logSight()).lastSeq;
    const owned = stack.move();
    return { world, first, second, before, ends, left, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  }

  test(`the archive that ends first, and starts first, opens no log that lacks what another has${on}`, async (t) => {
    await using made = await lostEnd();
    const { world, first, second, before, ends, left } = made;
    const { bus, nats } = world;
    const [early, late] = ends.toSorted((one, other) => one.seq - other.seq);
    t.true(early && late && early.seq < left && left < late.seq && late.seq <= before.size);
    await using _early = await openStore(nats, first);
    const refusal = { code: 'unavailable', message: new RegExp(`${late?.id}, had come to event ${late?.seq} at `) };
    await t.throwsAsync(append(bus, 'late'), refusal);
    await using _late = await openStore(nats, second);
    await t.throwsAsync(append(bus, 'late'), { code: 'unavailable' });
    t.regex((await mend({ ...world, file: second }, 'fill')) ?? '', /back at their places/);
    await eventually(() => append(bus, 'late'));
    const after = await contents(world);
    for (const [seq, text] of before) if (seq <= (late?.seq ?? 0)) t.is(after.get(seq), text);
  });

  test(`an archive that will not come back is forgotten, and the log goes on without what it had${on}`, async (t) => {
    await using made = await lostEnd();
    const { world, first } = made;
    await using _early = await openStore(world.nats, first);
    await t.throwsAsync(append(world.bus, 'late'), { message: /toka log archives --forget/ });
    const [further] = (await world.bus.archives.list()).toSorted((one, other) => other.seq - one.seq);
    const environment = { NATS_URL: world.nats.url };
    const listed = await toka(['log', 'archives'], { environment });
    t.is(listed.code, 0, listed.err);
    t.regex(listed.out, new RegExp(`^${further?.id}\t${further?.seq}\t`, 'm'));
    t.is((await toka(['log', 'archives', '--forget', 'another'], { environment })).code, 3);
    t.is((await toka(['log', 'archives', '--forget', further?.id ?? ''], { environment })).code, 0);
    await eventually(() => append(world.bus, 'late'));
    t.is((await world.bus.archives.list()).length, 1);
  });

  test(`an older file in an archive's place opens no log that lacks what it had${on}`, async (t) => {
    await using made = await lostEnd({ isOlder: true });
    const { world, first, second, ends, left } = made;
    t.is(ends.length, 1);
    await using _older = await openStore(world.nats, first);
    await t.throwsAsync(append(world.bus, 'late'), {
      message: new RegExp(`the log ends with event ${left}, and an arch`),
    });
    t.deepEqual(await world.bus.archives.list(), ends, 'it says nothing of its own meanwhile');
    await mend({ ...world, file: second }, 'fill');
    await eventually(() => append(world.bus, 'late'));
  });

  test(`a new store opens no log that lacks what another has${on}`, async (t) => {
    await using made = await lostEnd();
    await using _new = await openStore(made.world.nats, `${made.first}-new`);
    await t.throwsAsync(append(made.world.bus, 'late'), { code: 'unavailable', message: /had come to event/ });
  });

  test(`the store's user says how far an archive is, and lists all; nobody else says it${on}`, async (t) => {
    await using nats = await startNatsWithUsers(program);
    await using stack = new AsyncDisposableStack();
    const open = async (user: string) =>
      stack.use(
        await openBus(
          { url: nats.url, user, password: passwordOf(user), name: user, leaseMs: 1_000, replicas: 1, declares: false },
          () => undefined,
        ),
      );
    const [store, gateway, admin] = [await open('store'), await open('gateway'), await open('toka')];
    await store.archives.write('one', 7);
    await store.archives.write('two', 9);
    await store.archives.write('one', 8);
    await t.throwsAsync(gateway.archives.write('one', 1));
    for (const bus of [store, admin]) {
      const ends = await bus.archives.list();
      t.deepEqual(Object.fromEntries(ends.map(({ id, seq }) => [id, seq])), { one: 8, two: 9 });
      t.true(ends.every(({ time }) => Date.now() - Date.parse(time) < 60_000));
    }
    await admin.archives.forget('one');
    t.deepEqual(
      (await store.archives.list()).map(({ id }) => id),
      ['two'],
    );
  });
}

test('a store that stops says how far it has come, and a copy of its archive speaks for itself', async (t) => {
  await using world = await openWorld();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fillBoth(world, 0, 5);
  await first[Symbol.asyncDispose]();
  const { lastSeq } = await bus.logSight();
  const [told, ...rest] = await bus.archives.list();
  t.is(told?.seq, lastSeq);
  t.is(rest.length, 0);
  const copy = `${file}-copy`;
  copyArchive(file, copy);
  const second = await openStore(nats, copy);
  await second[Symbol.asyncDispose]();
  t.is(new Set((await bus.archives.list()).map(({ id }) => id)).size, 2);
});

test('an end is told where it is news, and anew where nats-server may have forgotten', async (t) => {
  await using world = await openWorld();
  const { bus } = world;
  const archive = { id: 'one', seq: 3, end: () => archive.seq };
  const tell = createTeller(bus, archive);
  const told = async () => (await bus.archives.list())[0];
  await tell();
  const first = await told();
  t.is(first?.seq, 3);
  await tell();
  t.deepEqual(await told(), first);
  archive.seq = 4;
  await tell();
  t.is((await told())?.seq, 4);
  await bus.archives.forget('one');
  await tell();
  t.is(await told(), undefined);
  await tell({ anew: true });
  t.is((await told())?.seq, 4);
});
