import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { Draft } from '#shared/contracts/events.ts';
import { listNeeded } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { startService } from '#shared/service.ts';
import { queued, returned, step, submitted } from '#test/helpers/events.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/store/config.ts';
import { start } from '../../services/store/main.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const hash = (digit: string) => digit.repeat(64);
const [whole, image, base, delivered, newer, quoted] = ['1', '2', '3', 'a', '5', '6'].map(hash) as [
  string,
  ...string[],
];
const hashes = [whole, image, base, delivered, newer, quoted] as string[];
const ref = (sha256 = '') => ({ sha256, bytes: 1 });

async function setUp() {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(undefined, { hasStore: true }));
  const file = join(stack.use(await temporaryFolder()).path, 'toka.sqlite');
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const owned = stack.move();
  const openStore = () =>
    startService('store', Config, start, {
      ...{ NATS_URL: nats.url, METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent' },
      ...{ CONFIG_FILE: 'none', DATABASE_FILE: file },
    });
  return { bus, file, openStore, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** An ended run, with references in each place where events have them. */
async function appendRun(bus: Bus): Promise<number> {
  const run = `run/${newId('run')}`;
  const image1 = { mediaType: 'image/png', artifact: ref(image) };
  const said = step(`look: {"sha256":"${quoted}"}`);
  const drafts: Draft[] = [
    queued,
    { type: 'toka.run.workspace-opened.v1', data: { branch: 'main', commit: null, bundle: ref(base) } },
    said,
    { ...returned('c1'), data: { ...returned('c1').data, whole: ref(whole), image: image1 } } as Draft,
    submitted('c1'),
    { type: 'toka.run.completed.v1', data: { result: 'done' } },
  ];
  for (const draft of drafts) await bus.append(newEvent(draft, run, writer));
  // What a newer version of Toka writes is not known here, and what it names is needed all the same.
  const unknown = { ...newEvent(queued, run, writer), type: 'toka.run.thought.v2', data: { of: [ref(newer)] } };
  return bus.append(unknown as never);
}

const needed = async (bus: Bus, minSeq: number, firstSeq: number, deliveredSince: string | null = null) => {
  const answer = await bus.ask(listNeeded, { hashes, firstSeq, deliveredSince, minSeq });
  return { seq: answer.seq, needed: answer.needed.toSorted() };
};

test('the archive knows which events name an artifact, wherever they do', async (t) => {
  await using all = await setUp();
  await using _store = await all.openStore();
  const seq = await appendRun(all.bus);
  const named = [whole, image, base, newer, delivered];
  t.deepEqual(await needed(all.bus, seq, 1), { seq, needed: named.toSorted() });
  t.deepEqual((await needed(all.bus, seq, seq)).needed, [newer, delivered].toSorted());
  t.deepEqual((await needed(all.bus, seq, seq + 1)).needed, [delivered], 'a deliverable is kept for ever');
  const later = new Date(Date.now() + 60_000).toISOString();
  t.deepEqual((await needed(all.bus, seq, seq + 1, later)).needed, []);
  await t.throwsAsync(needed(all.bus, seq + 1, 1), { code: 'unavailable' });
  const limited = { hashes, firstSeq: 1, deliveredSince: null, workstreams: ['alpha'] };
  await t.throwsAsync(all.bus.ask(listNeeded, limited), { code: 'forbidden' });
});

test('an archive of an earlier version learns it from its events', async (t) => {
  await using all = await setUp();
  const before = await all.openStore();
  const seq = await appendRun(all.bus);
  const { needed: known } = await needed(all.bus, seq, 1);
  await before[Symbol.asyncDispose]();
  const db = new Database(all.file);
  db.exec("DROP TABLE uses; DROP TABLE forks; UPDATE meta SET value = '8' WHERE key = 'views-version'");
  db.close();
  await using _after = await all.openStore();
  t.deepEqual((await needed(all.bus, seq, 1)).needed, known);
});

test('an archive of another log says nothing of artifacts', async (t) => {
  await using all = await setUp();
  const before = await all.openStore();
  const seq = await appendRun(all.bus);
  await needed(all.bus, seq, 1);
  await before[Symbol.asyncDispose]();
  const db = new Database(all.file);
  db.prepare("UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT), 'done', 'gone') AS BLOB)").run();
  db.close();
  await using _after = await all.openStore();
  await t.throwsAsync(needed(all.bus, seq, 1), { code: 'unavailable', message: /nothing is said of artifacts/ });
});
