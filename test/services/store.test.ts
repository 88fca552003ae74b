import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { Draft } from '#shared/contracts/events.ts';
import * as store from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { startService } from '#shared/service.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { dispatched, facts, judged, queued, started, step, submitted } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/store/config.ts';
import { start } from '../../services/store/main.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

const openStore = (nats: TestServer, file: string, environment: Record<string, string> = {}) =>
  startService('store', Config, start, {
    NATS_URL: nats.url,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: file,
    ...environment,
  });

async function setUp() {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(undefined, { hasStore: true }));
  const file = join(stack.use(await temporaryFolder()).path, 'toka.sqlite');
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const owned = stack.move();
  return { nats, file, bus, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function appendAll(bus: Bus, subject: string, drafts: readonly Draft[]): Promise<number> {
  let seq = 0;
  for (const draft of drafts) seq = await bus.append(newEvent(draft, subject, writer), undefined);
  return seq;
}

const registered = (name: string): Draft => ({
  type: 'toka.agent.registered.v1',
  data: { spec: agentSpec({ name }), origin: 'api' },
});
const called = (costUsd: number | null): Draft => ({
  type: 'toka.llm.called.v1',
  data: { ...facts, costUsd, key: 'internal', agentId: 'scout', runId: 'run_A', outcome: 'ok' },
});
const completed: Draft = { type: 'toka.run.completed.v1', data: { result: 'done' } };

function readAll(file: string) {
  const db = new Database(file, { readonly: true });
  try {
    return db.prepare('SELECT seq, bytes, hash FROM events ORDER BY seq').all() as { seq: number; bytes: Buffer }[];
  } finally {
    db.close();
  }
}

const runId = 'run_01KAR0000000000000000000AA';

test('a run and its agent can be read as soon as they were written', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using _store = await openStore(nats, file);
  await appendAll(bus, 'agent/scout', [registered('scout')]);
  const asked = step('thinking', 'submit_deliverable');
  const drafts = [queued, dispatched, started, asked, submitted('thinking-1'), judged(true), completed];
  const minSeq = await appendAll(bus, `run/${runId}`, drafts);
  const run = await bus.ask(store.getRun, { id: runId, minSeq });
  t.like(run, { agentId: 'scout', status: 'completed', steps: 1, version: minSeq, verdict: { pass: true } });
  t.is(run.usage.costUsd, 1);
  t.like(await bus.ask(store.getAgent, { id: 'scout' }), { status: 'active', origin: 'api' });
  const [status] = await bus.ask(store.listAgentStatus, {});
  t.like(status, { state: 'done', works: { total: 1, completed: 1, failed: 0 } });
  const { items } = await bus.ask(store.listSteps, { runId });
  t.like(items[0], { step: 1, text: 'thinking', tools: ['submit_deliverable'] });
  await t.throwsAsync(bus.ask(store.getRun, { id: 'run_01KAR0000000000000000000ZZ' }), { code: 'not-found' });
  await t.throwsAsync(bus.ask(store.getAgent, { id: 'nobody' }), { code: 'not-found', message: /no agent "nobody"/ });
});

test('a question about what the log does not hold yet says to come again', async (t) => {
  await using all = await setUp();
  await using _store = await openStore(all.nats, all.file);
  const error = await t.throwsAsync(all.bus.ask(store.listAgentStatus, { minSeq: 1_000 }), { code: 'unavailable' });
  t.like(error, { retryAfterMs: 1_000 });
});

test('lists come in pages that miss and double nothing', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using _store = await openStore(nats, file);
  const names = ['ada', 'bob', 'cyd', 'dan', 'eve'];
  for (const name of names) await appendAll(bus, `agent/${name}`, [registered(name)]);
  const minSeq = await appendAll(bus, 'agent/bob', [{ type: 'toka.agent.removed.v1', data: { reason: 'test' } }]);
  const seen: string[] = [];
  for (let cursor: string | undefined | null; cursor !== null; ) {
    const page = await bus.ask(store.listAgents, { limit: 2, cursor, minSeq });
    seen.push(...page.items.map(({ id }) => id));
    cursor = page.nextCursor;
  }
  t.deepEqual(seen, ['ada', 'cyd', 'dan', 'eve']);
  const events = await bus.ask(store.listEvents, { subject: 'agent/bob' });
  t.deepEqual(
    events.items.map(({ type }) => type),
    ['toka.agent.registered.v1', 'toka.agent.removed.v1'],
  );
  await t.throwsAsync(bus.ask(store.listEvents, { cursor: 'x' }), { code: 'invalid', message: /^cursor: / });
});

test('what was used is summed, and calls without a price are counted apart', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using _store = await openStore(nats, file);
  const minSeq = await appendAll(bus, 'llm/internal', [called(0.5), called(0.25), called(null)]);
  const [row] = await bus.ask(store.listUsage, { by: 'agent', minSeq });
  t.deepEqual(row, {
    key: 'scout',
    calls: 3,
    inputTokens: 30,
    outputTokens: 15,
    costUsd: 0.75,
    callsWithoutPrice: 1,
  });
});

test('a store that was away catches up, and holds the log byte for byte', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  const first = await openStore(nats, file);
  await appendAll(bus, 'agent/ada', [registered('ada')]);
  await first[Symbol.asyncDispose]();
  for (let index = 0; index < 300; index++) await appendAll(bus, `agent/a${index}`, [registered(`a${index}`)]);
  await using _second = await openStore(nats, file);
  const last = await bus.lastSeq();
  await eventually(() => readAll(file).length >= last);
  const rows = readAll(file);
  const stop = new AbortController();
  for await (const raw of bus.follow({ from: 1, signal: stop.signal })) {
    const row = rows[raw.seq - 1];
    t.is(row?.seq, raw.seq);
    t.true(row?.bytes.equals(raw.bytes));
    if (raw.seq === last) stop.abort();
  }
});

test('a file from a backup reads again what it misses', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  const first = await openStore(nats, file);
  const early = await appendAll(bus, 'agent/ada', [registered('ada')]);
  await bus.ask(store.getAgent, { id: 'ada', minSeq: early });
  await first[Symbol.asyncDispose]();
  copyFileSync(file, `${file}.backup`);
  const second = await openStore(nats, file);
  const late = await appendAll(bus, 'agent/bob', [registered('bob')]);
  await bus.ask(store.getAgent, { id: 'bob', minSeq: late });
  await second[Symbol.asyncDispose]();
  copyFileSync(`${file}.backup`, file);
  await using _third = await openStore(nats, file);
  await eventually(() => bus.ask(store.getAgent, { id: 'bob', minSeq: late }));
  t.is(readAll(file).length, await bus.lastSeq());
});

test('two stores have the same chain, and a changed byte breaks it where it was changed', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using _one = await openStore(nats, file);
  await using _two = await openStore(nats, `${file}-2`);
  const minSeq = await appendAll(bus, 'agent/ada', [registered('ada')]);
  const heads = new Set<string>();
  for (let index = 0; index < 10; index++) heads.add((await bus.ask(store.getArchive, { minSeq })).chainHead);
  t.is(heads.size, 1);
  await _two[Symbol.asyncDispose]();
  const { chainHead } = await bus.ask(store.getArchive, { minSeq: await bus.lastSeq() });
  t.like(await bus.ask(store.verifyArchive, {}), { intact: true, brokenAt: null, chainHead });
  const db = new Database(file);
  db.prepare("UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT), 'ada', 'eve') AS BLOB) WHERE seq = ?").run(
    minSeq,
  );
  db.close();
  t.like(await bus.ask(store.verifyArchive, {}), { intact: false, brokenAt: minSeq });
});

test('views of another version are folded anew from the events', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  const first = await openStore(nats, file);
  const minSeq = await appendAll(bus, 'agent/ada', [registered('ada')]);
  await bus.ask(store.getAgent, { id: 'ada', minSeq });
  await first[Symbol.asyncDispose]();
  const db = new Database(file);
  db.exec("UPDATE meta SET value = '0' WHERE key = 'views-version'; UPDATE agents SET state = '{}'");
  db.close();
  await using _second = await openStore(nats, file);
  t.is((await bus.ask(store.getAgent, { id: 'ada' })).spec.name, 'ada');
});

test('what is no event is archived and does no harm', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using _store = await openStore(nats, file);
  const good = newEvent(registered('ada'), 'agent/ada', writer);
  await bus.append(
    { ...good, id: 'evt_00000000000000000000000001', type: 'toka.agent.exploded.v9' } as never,
    undefined,
  );
  const minSeq = await bus.append(good, undefined);
  t.is((await bus.ask(store.getAgent, { id: 'ada', minSeq })).id, 'ada');
  t.is(readAll(file).length, minSeq);
});

test('a disk that is full stops the archive, not the log, and nothing is lost once there is room', async (t) => {
  await using all = await setUp();
  const { bus, nats, file } = all;
  await using running = await openStore(nats, file);
  const before = await appendAll(bus, 'agent/ada', [registered('ada')]);
  await bus.ask(store.getAgent, { id: 'ada', minSeq: before });
  // Another process that holds the write lock stops commits as a full disk does: each fails after the busy timeout.
  const blocker = new Database(file);
  blocker.exec('BEGIN IMMEDIATE');
  const seq = await appendAll(bus, 'agent/bob', [registered('bob')]);
  const ready = async () => (await fetch(`http://127.0.0.1:${running.port}/health/ready`)).json();
  t.regex(
    (
      await eventually(async () => {
        const health = (await ready()) as { ready: boolean; checks: Record<string, string> };
        return health.ready ? undefined : health;
      })
    ).checks.archive ?? '',
    /SQLite: database is locked/,
  );
  blocker.exec('ROLLBACK');
  blocker.close();
  await eventually(() => bus.ask(store.getAgent, { id: 'bob', minSeq: seq }));
  t.is(readAll(file).length, await bus.lastSeq());
});

test('the state of JetStream, NATS, SQLite and the disk is in its metrics', async (t) => {
  await using system = await setUp();
  const { nats, file, bus } = system;
  const monitor = `http://127.0.0.1:${nats.monitorPort}`;
  await using opened = await openStore(nats, file, { NATS_MONITOR_URL: `${monitor},http://localhost:1` });
  await appendAll(bus, 'agent/scout', [registered('scout')]);
  const text = await eventually(async () => {
    const answer = await (await fetch(`http://127.0.0.1:${opened.port}/metrics`)).text();
    return (
      /^toka_audit_checked_timestamp_seconds.* 1\d{9}/m.test(answer) &&
      /^toka_log_sequence.* [1-9]/m.test(answer) &&
      /^toka_nats_up\{server="127.*\} 1$/m.test(answer) &&
      /^toka_nats_up\{server="localhost.*\} 0$/m.test(answer) &&
      /^toka_archive_bytes/m.test(answer) &&
      /^toka_disk_free/m.test(answer) &&
      answer
    );
  });
  const value = (beginning: string) => {
    const line = text.split('\n').find((each) => each.startsWith(beginning));
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
  };
  t.true((value('toka_jetstream_stream_messages{stream="EVENTS"') ?? 0) >= 1);
  t.is(value('toka_jetstream_stream_messages{stream="TASKS"'), 0);
  t.is(value('toka_jetstream_stream_replicas{stream="EVENTS"'), 1);
  t.is(value('toka_jetstream_consumer_pending{stream="TASKS",consumer="runners"'), 0);
  t.is(value('toka_nats_up{server="127.0.0.1"'), 1);
  t.is(value('toka_nats_up{server="localhost"'), 0, 'nobody is there');
  t.true((value('toka_nats_connections{') ?? 0) >= 2);
  t.true((value('toka_jetstream_storage_max_bytes') ?? 0) > 1e6);
  t.true((value('toka_archive_bytes{file="database"') ?? 0) > 0);
  t.true((value('toka_disk_free_bytes{volume="archive"') ?? 0) > 0);
  t.is(value('toka_audit_chain_broken'), 0);
});

test('a changed event is found by the check that the store makes by itself', async (t) => {
  await using system = await setUp();
  const { nats, file, bus } = system;
  {
    await using opened = await openStore(nats, file);
    await appendAll(bus, 'agent/scout', [registered('scout')]);
    const seq = await appendAll(bus, 'agent/keeper', [registered('keeper')]);
    await bus.ask(store.getAgent, { id: 'keeper', minSeq: seq });
    t.truthy(opened.port);
  }
  const db = new Database(file);
  db.exec(
    "UPDATE events SET bytes = CAST(replace(CAST(bytes AS TEXT), 'scout', 'snoop') AS BLOB) WHERE subject = 'agent/scout'",
  );
  db.close();
  await using opened = await openStore(nats, file, { AUDIT_VERIFY_INTERVAL: '1' });
  const broken = await eventually(async () => {
    const answer = await (await fetch(`http://127.0.0.1:${opened.port}/metrics`)).text();
    return /^toka_audit_chain_broken\{.*\} 1$/m.test(answer);
  });
  t.true(broken);
});

test('a long history comes from the archive, and is the same without it', async (t) => {
  await using all = await setUp();
  const { bus } = all;
  const running = await openStore(all.nats, all.file);
  const id = newId('run');
  let last = await bus.append(newEvent(queued, `run/${id}`, writer), 0);
  const large = 'x'.repeat(40_000);
  for (let count = 1; count <= 300; count++) {
    const data = { reason: count % 2 ? String(count) : large };
    last = await bus.append(newEvent({ type: 'toka.run.dispatched.v1', data }, `run/${id}`, writer), last);
    if (count % 50 === 0)
      await bus.append(newEvent({ type: 'toka.run.paused.v1', data: { reason: 'x' } }, `run/${id}`, writer));
  }
  await bus.ask(store.getAgent, { id: 'nobody', minSeq: await bus.lastSeq() }).catch(() => undefined);
  const startedMs = performance.now();
  const long = await bus.history('run', id);
  t.log(`${(performance.now() - startedMs).toFixed(0)} ms with the archive`);
  t.is(long.events.length, 307);
  t.is(long.last, last);
  const part = { from: 100, decisionsFrom: 1 };
  const some = await bus.history('run', id, part);
  await running[Symbol.asyncDispose]();
  const without = await bus.history('run', id);
  t.deepEqual(without, long);
  t.deepEqual(await bus.history('run', id, part), some);
  const early = (await bus.read('run', id, 1, 200)).map(({ seq }) => seq);
  t.deepEqual(
    early,
    long.events.map(({ seq }) => seq).filter((seq) => seq <= 200),
  );
});
