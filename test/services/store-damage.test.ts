import { closeSync, existsSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import Database from 'better-sqlite3';
import { connect } from 'nats';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { isSigned } from '#shared/checkpoint.ts';
import * as store from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { startService } from '#shared/service.ts';
import { agentSpec } from '#test/helpers/agents.ts';
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

/** As many agents, all of them archived. */
async function fill(bus: Bus, from: number, count: number): Promise<void> {
  let minSeq = 0;
  for (let index = from; index < from + count; index++) {
    const spec = agentSpec({ name: `a${index}`, instructions: 'x'.repeat(2_000) });
    const event = newEvent(
      { type: 'toka.agent.registered.v1', data: { spec, origin: 'api' } },
      `agent/a${index}`,
      writer,
    );
    minSeq = await bus.append(event, 0);
  }
  await eventually(() => bus.ask(store.getArchive, { minSeq }));
}

/** Overwrites bytes of a file that nobody has open. */
function overwrite(file: string, at: number, bytes: number): void {
  const open = openSync(file, 'r+');
  writeSync(open, Buffer.alloc(bytes, 'X'), 0, bytes, at);
  closeSync(open);
}

const metricOf = async (port: number, name: string) => {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(new RegExp(`^${name}\\{.*\\} (\\S+)$`, 'm').exec(text)?.[1]);
};

const asides = (file: string) => readdirSync(dirname(file)).filter((name) => /damaged-.*Z$/.test(name));

test('a file whose header is damaged is moved aside and made anew from the log, to the same chain', async (t) => {
  await using world = await setUp();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fill(bus, 0, 10);
  const before = await bus.ask(store.getArchive, {});
  await bus.ask(store.verifyArchive, {});
  await first[Symbol.asyncDispose]();
  overwrite(file, 0, 64);
  await using _again = await openStore(nats, file);
  await eventually(async () => (await bus.ask(store.getArchive, {})).seq >= before.seq);
  t.is(asides(file).length, 1, 'what was damaged is kept');
  const verdict = await bus.ask(store.verifyArchive, { anchor: { seq: before.seq, chainHead: before.chainHead } });
  t.like(verdict, { intact: true, anchor: { holds: true }, log: { missing: 0, differsAt: null } });
});

test('a damaged page is found by the check that the store makes by itself, told, and mended at the next start', async (t) => {
  await using world = await setUp();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fill(bus, 0, 200);
  const before = await bus.ask(store.getArchive, {});
  await first[Symbol.asyncDispose]();
  const db = new Database(file);
  const leaves = "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY pageno";
  const pages = db.prepare(leaves).pluck().all() as number[];
  db.close();
  // Not the last, which would be noticed when it is opened.
  overwrite(file, ((pages[Math.floor(pages.length / 2)] ?? 0) - 1) * 16_384, 100);
  const second = await openStore(nats, file);
  await eventually(async () => (await metricOf(second.port, 'toka_audit_chain_broken')) === 1);
  const health = (await (await fetch(`http://127.0.0.1:${second.port}/health/ready`)).json()) as {
    ready: boolean;
    checks: Record<string, string>;
  };
  t.false(health.ready);
  t.regex(health.checks.audit ?? '', /the archive's file is damaged: .*when it starts again/);
  t.like(await bus.ask(store.verifyArchive, {}), { intact: false });
  await second[Symbol.asyncDispose]();
  await using _third = await openStore(nats, file);
  await eventually(async () => (await bus.ask(store.getArchive, {})).seq >= before.seq);
  t.is(asides(file).length, 1);
  const anchor = { seq: before.seq, chainHead: before.chainHead };
  t.like(await bus.ask(store.verifyArchive, { anchor }), { intact: true, damage: null, anchor: { holds: true } });
});

test('a damaged file is not made anew from a log that has lost events: nothing that was known is forgotten', async (t) => {
  await using world = await setUp();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fill(bus, 0, 10);
  await bus.ask(store.verifyArchive, {});
  await first[Symbol.asyncDispose]();
  overwrite(file, 0, 64);
  const nc = await connect({ servers: nats.url });
  const jsm = await nc.jetstreamManager();
  const { config } = await jsm.streams.info('EVENTS');
  await jsm.streams.delete('EVENTS');
  await jsm.streams.add(config);
  await nc.close();
  await t.throwsAsync(openStore(nats, file), {
    code: 'conflict',
    message:
      /is damaged .* is not made anew from the log: it ends with event 0, and the archive held \d+\. Put a backup/,
  });
  t.true(existsSync(file));
  t.deepEqual(asides(file), []);
});

test('an event that the log has lost is found by the check that the store makes by itself, and told', async (t) => {
  await using world = await setUp();
  const { bus, nats, file } = world;
  const nc = await connect({ servers: nats.url });
  const jsm = await nc.jetstreamManager();
  const { config } = await jsm.streams.info('EVENTS');
  await jsm.streams.delete('EVENTS');
  await jsm.streams.add({ ...config, deny_delete: false });
  await using running = await openStore(nats, file, { AUDIT_VERIFY_INTERVAL: '1' });
  await fill(bus, 0, 20);
  t.like(await bus.ask(store.verifyArchive, {}), { intact: true, log: { missing: 0, differsAt: null } });
  // As a damaged block does: the server says that there is no such message.
  await jsm.streams.deleteMessage('EVENTS', 7);
  await nc.close();
  await eventually(async () => (await metricOf(running.port, 'toka_audit_log_broken')) === 1);
  t.like(await bus.ask(store.verifyArchive, {}), { intact: true, log: { missing: 1, firstMissing: 7 } });
  const health = await (await fetch(`http://127.0.0.1:${running.port}/health/ready`)).text();
  t.regex(health, /the log lacks 1 events from 7 on: .*toka log restore/);
});

test('a checkpoint that was kept elsewhere holds, and tells an archive that was made anew from other events', async (t) => {
  await using world = await setUp();
  const { bus, nats, file } = world;
  const first = await openStore(nats, file);
  await fill(bus, 0, 3);
  const checkpoint = await bus.ask(store.getCheckpoint, {});
  t.true(isSigned(checkpoint));
  t.false(isSigned({ ...checkpoint, seq: checkpoint.seq + 1 }));
  t.is(statSync(join(dirname(file), 'checkpoint-key.pem')).mode & 0o777, 0o600);
  await fill(bus, 3, 3);
  t.like(await bus.ask(store.verifyArchive, { anchor: checkpoint }), { anchor: { seq: checkpoint.seq, holds: true } });
  await first[Symbol.asyncDispose]();
  // Somebody changes an event, and every link after it, so that the chain by itself is whole again.
  const { link, chainStart } = await import('../../services/store/chain.ts');
  const db = new Database(file);
  const rows = db.prepare('SELECT seq, bytes FROM events ORDER BY seq').all() as { seq: number; bytes: Buffer }[];
  let head: Uint8Array = chainStart;
  for (const { seq, bytes } of rows) {
    const changed = Buffer.from(bytes.toString('utf8').replace('"a1"', '"e1"'));
    head = link(head, seq, changed);
    db.prepare('UPDATE events SET bytes = ?, hash = ? WHERE seq = ?').run(changed, head, seq);
  }
  db.close();
  await using _again = await openStore(nats, file, { AUDIT_VERIFY_INTERVAL: '0' });
  const found = await bus.ask(store.verifyArchive, { anchor: checkpoint });
  t.is(found.brokenAt, null, 'its own chain says nothing');
  t.deepEqual(found.anchor, { seq: checkpoint.seq, holds: false });
  t.false(found.intact, 'the checkpoint beside it says it as well');
  t.not(found.log.differsAt, null);
  t.regex(readFileSync(`${file}.checkpoint`, 'utf8'), /"signature"/);
});
