import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { connect } from 'nats';
import * as store from '#shared/contracts/store.ts';
import { append, contents, fillBoth, harmed, mend, openStore, openWorld } from '#test/helpers/archived-log.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { cutLog, damageLog } from '#test/helpers/log-damage.ts';

test('nobody appends before a store has compared the log with its archive, nor after nats-server was started again', async (t) => {
  await using world = await openWorld();
  const { bus, nats, file } = world;
  await t.throwsAsync(append(bus, 'early', 300), { code: 'unavailable', message: /is the store running\?$/ });
  t.is(await bus.lastSeq(), 0);
  const waiting = append(bus, 'ada');
  const first = await openStore(nats, file);
  await waiting;
  await first[Symbol.asyncDispose]();
  await nats.kill();
  await nats.start();
  await eventually(() => bus.connected());
  await t.throwsAsync(append(bus, 'bob', 300), { code: 'unavailable', message: /since nats-server was started/ });
  await using _second = await openStore(nats, file);
  await append(bus, 'bob');
});

test('a log that has lost its end is written on by nobody until it has it back from the archive, at the same places', async (t) => {
  await using world = await openWorld();
  const { bus, nats, file } = world;
  await using running = await openStore(nats, file);
  const last = await fillBoth(world, 0, 60);
  const before = await contents(world);
  await harmed(world, cutLog);
  await eventually(() => bus.connected());
  const left = (await bus.logSight()).lastSeq;
  t.true(left < last && left > 0);
  const refusal = {
    code: 'unavailable',
    message: /nothing is written to the log: .* holds \d+ more.*toka log restore/,
  };
  await t.throwsAsync(append(bus, 'late'), refusal);
  const health = await (await fetch(`http://127.0.0.1:${running.port}/health/ready`)).json();
  t.like(health, { ready: false });
  t.regex((health as { checks: { log: string } }).checks.log, /toka log restore/);
  // Asked once more, a store that starts says so as well, and can be asked what it holds.
  t.regex((await mend(world, 'fill')) ?? '', new RegExp(`lacked ${last - left} events`));
  t.deepEqual(await contents(world), before);
  t.is(await eventually(() => append(bus, 'late')), last + 1);
  t.is((await bus.ask(store.getAgent, { id: 'late', minSeq: last + 1 })).id, 'late');
  // An entity's last event is the one that it was: whoever expects it is not refused.
  await t.throwsAsync(append(bus, 'a59'), { code: 'conflict' });
});

test('a log that has lost what lay behind a damaged place has all of it back', async (t) => {
  await using world = await openWorld();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fillBoth(world, 0, 60);
  const before = await contents(world);
  await first[Symbol.asyncDispose]();
  await harmed(world, damageLog);
  await using _again = await openStore(nats, file);
  await eventually(() => bus.connected());
  await t.throwsAsync(append(bus, 'late'), { code: 'unavailable', message: /toka log restore/ });
  const said = (await mend(world, 'remake')) ?? '';
  t.regex(said, /made anew from the archive|back at their places/);
  const after = await contents(world);
  for (const [seq, text] of before) if (seq < before.size) t.is(after.get(seq), text);
  await eventually(() => append(bus, 'late'));
  await t.throwsAsync(append(bus, 'a59'), { code: 'conflict' });
});

test('a hole in a log that goes on is found, and made whole without losing what came after the archive', async (t) => {
  await using world = await openWorld();
  const { bus, nats, file } = world;
  const nc = await connect({ servers: nats.url });
  const jsm = await nc.jetstreamManager();
  const { config } = await jsm.streams.info('EVENTS');
  await jsm.streams.delete('EVENTS');
  await jsm.streams.add({ ...config, deny_delete: false });
  const first = await openStore(nats, file);
  await fillBoth(world, 0, 40);
  await first[Symbol.asyncDispose]();
  for (let index = 40; index < 60; index++) await append(bus, `a${index}`);
  const before = await contents(world);
  await jsm.streams.deleteMessage('EVENTS', 10);
  await nc.close();
  await nats.kill();
  await nats.start();
  await using _again = await openStore(nats, file);
  await t.throwsAsync(append(bus, 'late'), { code: 'unavailable', message: /the log is damaged: .*missing/ });
  await t.throwsAsync(mend(world, 'fill'), { code: 'conflict', message: /the log is damaged/ });
  t.regex((await mend(world, 'remake')) ?? '', /made anew from the archive/);
  const after = await contents(world);
  for (const [seq, text] of before) t.is(after.get(seq), text);
  await eventually(() => append(bus, 'late'));
});

test('a log that is another is not written on, and replacing it keeps in a file what only it had', async (t) => {
  await using all = await openWorld();
  await using other = await openWorld();
  const first = await openStore(all.nats, all.file);
  await fillBoth(all, 0, 5);
  await first[Symbol.asyncDispose]();
  const own = await contents(all);
  const foreign = await openStore(other.nats, `${other.file}-own`);
  await fillBoth(other, 100, 20);
  await foreign[Symbol.asyncDispose]();
  await other.nats.kill();
  await other.nats.start();
  await using _store = await openStore(other.nats, all.file);
  await t.throwsAsync(append(other.bus, 'late'), { code: 'unavailable', message: /is not the archive's.*--replace/ });
  t.true((await other.bus.ask(store.getArchive, {})).seq <= own.size, 'it has taken nothing of the other');
  const mixed = { ...other, file: all.file };
  await t.throwsAsync(mend(mixed, 'remake'), { code: 'conflict', message: /is not the archive's/ });
  const said = await mend(mixed, 'replace');
  t.regex(said ?? '', /events that only the log had are in /);
  const after = await contents(other);
  for (const [seq, text] of own) if (seq < own.size) t.is(after.get(seq), text);
  const kept = readdirSync(dirname(all.file)).find((name) => name.includes('replaced'));
  t.true(kept !== undefined && existsSync(join(dirname(all.file), kept)));
  t.regex(readFileSync(join(dirname(all.file), kept ?? ''), 'utf8'), /"subject":"toka\.events\.agent\.a100"/);
  await eventually(() => append(other.bus, 'late'));
});

test('an empty log beside a full archive is filled only when somebody says so', async (t) => {
  await using all = await openWorld();
  await using other = await openWorld();
  const first = await openStore(all.nats, all.file);
  await fillBoth(all, 0, 5);
  await first[Symbol.asyncDispose]();
  const own = await contents(all);
  await using _store = await openStore(other.nats, all.file);
  await t.throwsAsync(append(other.bus, 'late'), { code: 'unavailable', message: /it is empty/ });
  const mixed = { ...other, file: all.file };
  await t.throwsAsync(mend(mixed, 'fill'), { code: 'conflict', message: /it is empty/ });
  await mend(mixed, 'remake');
  const after = await contents(other);
  for (const seq of own.keys()) if (seq < own.size) t.is(after.get(seq), own.get(seq));
});
