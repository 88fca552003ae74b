import test from 'ava';
import { encodeTime } from 'ulid';
import { openBus, openTrimmer } from '#shared/bus/bus.ts';
import { isYoung } from '#shared/bus/ends.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { archivedByAll } from '#shared/keeper/keeper.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import { trimLog } from '#shared/keeper/trim-log.ts';
import { readSettings } from '#shared/settings.ts';
import { natsServers, startNats } from '#test/helpers/servers.ts';

const hourMs = 3_600_000;
const count = 400;

for (const program of natsServers)
  test(`what leaves the log is old, archived, and no more than the bounds say (${program})`, async (t) => {
    await using nats = await startNats(program);
    const options = { url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 };
    await using bus = await openBus(options, () => undefined);
    const append = (size: number) => {
      const data = { id: newId('mem'), text: 'x'.repeat(size), runId: null };
      const event = { type: 'toka.memory.remembered.v1' as const, data };
      return bus.append(newEvent(event, 'memory/scout', { source: '/toka/test/1', actor: 'service:test' }));
    };
    for (let index = 0; index < count; index++) await append(index % 10 === 0 ? 20_000 : 200);
    await using log = await openTrimmer(options);
    const now = Date.now();
    const later = (ms: number) => ({ archivedTo: count, nowMs: now + ms });
    const left = (maxAgeMs: number, maxBytes: number, limits: Parameters<typeof trimLog>[2]) =>
      trimLog(log, { maxAgeMs, maxBytes }, limits);

    t.is(await left(0, 0, later(1_000 * hourMs)), 0, 'no bound');
    t.is(await left(2 * hourMs, 0, later(hourMs)), 0, 'none is old enough');
    t.is(await left(0, 1, later(hourMs / 2)), 0, 'none is an hour old, however many bytes there are');
    t.is(await left(2 * hourMs, 0, { ...later(3 * hourMs), archivedTo: 0 }), 0, 'no archive has them');
    t.is(await left(2 * hourMs, 0, { ...later(3 * hourMs), archivedTo: 50 }), 50, 'as far as every archive has come');
    t.is((await log.sight()).first, 51);

    const { bytes } = await log.sight();
    const half = Math.floor(bytes / 2);
    for (let round = 0; round < 5 && (await log.sight()).bytes > half; round++) await left(0, half, later(2 * hourMs));
    const now2 = await log.sight();
    t.true(now2.bytes <= half && now2.bytes > half * 0.75, `${now2.bytes} of at most ${half}`);

    const youngest = await append(200);
    t.is(await bus.lastSeq(), youngest);
    t.is(await left(2 * hourMs, 0, { ...later(3 * hourMs), archivedTo: youngest }), youngest - 100 - now2.first + 1);
    t.deepEqual(
      [(await log.sight()).first, (await log.sight()).last],
      [youngest - 99, youngest],
      'the last hundred stay',
    );
    t.is(await append(200), youngest + 1, 'sequences go on');
  });

test('an archive that is away for a day is waited for no longer, and without any nothing leaves', (t) => {
  const now = Date.parse('2026-12-01T12:00:00Z');
  const end = (seq: number, hours: number) => ({
    id: `a${seq}`,
    seq,
    time: new Date(now - hours * hourMs).toISOString(),
  });
  t.is(archivedByAll([], now), undefined);
  t.is(archivedByAll([end(10, 4)], now), undefined, 'nobody has said anything for hours');
  t.is(archivedByAll([end(10, 1), end(7, 20)], now), 7);
  t.is(archivedByAll([end(10, 1), end(7, 25)], now), 10);
});

test('nothing of an id that was made lately can have left the log, and of no other is that known', (t) => {
  const made = (minutesAgo: number) => `run_${encodeTime(Date.now() - minutesAgo * 60_000)}${'0'.repeat(16)}`;
  t.true(isYoung(newId('run')));
  t.true(isYoung(made(29)));
  t.false(isYoung(made(31)));
  t.false(isYoung(made(-31)), 'a scheduled run has the time at which it is due');
  for (const id of ['scout', 'run_scout', 'run_QBZYW7HNNYARVVCVA2H2JK1PNJ', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4'])
    t.false(isYoung(id), id);
});

test('the settings take nothing that would take away what is needed', (t) => {
  const read = (given: Record<string, string>) => readSettings(KeeperConfig, { CONFIG_FILE: 'none', ...given });
  t.like(read({}), { EVENTS_MAX_AGE: 0, EVENTS_MAX_BYTES: 0 });
  t.is(read({ EVENTS_MAX_AGE: '30' }).EVENTS_MAX_AGE, 30);
  t.throws(() => read({ EVENTS_MAX_AGE: '0.01' }), { message: /EVENTS_MAX_AGE got "0.01": must be 0, or 0.05/ });
  t.throws(() => read({ EVENTS_MAX_BYTES: '1000' }), {
    message: /EVENTS_MAX_BYTES got "1000": must be 0, or 16777216/,
  });
  t.throws(() => read({ EVENTS_MAX_AGE: '30d' }), { message: /EVENTS_MAX_AGE got "30d"/ });
});
