import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { connect } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import type { Draft, TokaEvent } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { queued, returned } from '#test/helpers/events.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const writer = { source: '/toka/bench/1', actor: 'service:bench' };
const rounds = 5;
const flatOut = 20_000;
const inFlight = 256;
const perSecond = 1_000;
const paced = 3_000;
const runs = 200;

/** One way from a publisher to SQLite: publishes an event, and knows how far the file is. */
type Way = { publish(event: TokaEvent): Promise<unknown>; committed(): number; [Symbol.asyncDispose](): Promise<void> };
type Measured = { perSecond: number; p50: number; p99: number };

/** Publish acknowledged -> committed in SQLite: Toka's own path beside a bare loop of the same durability, in turn. */
export async function pipeline(): Promise<void> {
  const out = (line: string) => process.stdout.write(`${line}\n`);
  const ratios: number[] = [];
  out('publish acknowledged -> committed in SQLite (WAL, FULL); consumer in a process of its own');
  for (let round = 1; round <= rounds; round++) {
    const bare = await measure(openBare);
    const toka = await measure(openToka);
    ratios.push(toka.perSecond / bare.perSecond);
    out(`round ${round}  bare  ${show(bare)}`);
    out(`         toka  ${show(toka)}   ratio ${(toka.perSecond / bare.perSecond).toFixed(2)}`);
  }
  const [middle = 0] = ratios.toSorted((a, b) => a - b).slice(Math.floor(rounds / 2));
  out(`median ratio, flat out: ${middle.toFixed(2)} (wanted: at least 0.70)`);
}

const show = ({ perSecond: rate, p50, p99 }: Measured) =>
  `${Math.round(rate).toLocaleString('en').padStart(7)} events/s flat out; at ${perSecond}/s p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`;

async function measure(open: () => Promise<Way>): Promise<Measured> {
  await using way = await open();
  const events = makeEvents(flatOut + paced + runs);
  for (const event of events.splice(0, runs)) await way.publish(event);
  const before = await settled(way);
  const startedMs = performance.now();
  const burst = events.splice(0, flatOut);
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (let event = burst.pop(); event; event = burst.pop()) await way.publish(event);
    }),
  );
  while (way.committed() < before + flatOut) await delay(1);
  const rate = flatOut / ((performance.now() - startedMs) / 1000);
  return { perSecond: rate, ...(await latencies(way, events)) };
}

async function settled(way: Way): Promise<number> {
  for (let last = -1; ; ) {
    await delay(300);
    if (way.committed() === last) return last;
    last = way.committed();
  }
}

async function latencies(way: Way, events: TokaEvent[]): Promise<{ p50: number; p99: number }> {
  const first = await settled(way);
  const startMs = performance.now();
  const sentMs: number[] = [];
  const tookMs: number[] = [];
  const pending: Promise<unknown>[] = [];
  while (tookMs.length < events.length) {
    const nowMs = performance.now();
    while (sentMs.length < events.length && sentMs.length < ((nowMs - startMs) / 1000) * perSecond) {
      const event = events[sentMs.length];
      if (event) pending.push(way.publish(event));
      sentMs.push(performance.now());
    }
    const done = way.committed() - first;
    while (tookMs.length < Math.min(done, sentMs.length)) tookMs.push(performance.now() - (sentMs[tookMs.length] ?? 0));
    await delay(1);
  }
  await Promise.all(pending);
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? 0;
  return { p50: at(0.5), p99: at(0.99) };
}

/** What a runner appends: runs that are queued, then tool results, half a kilobyte each. */
function makeEvents(count: number): TokaEvent[] {
  const text = 'x'.repeat(300);
  return Array.from({ length: count }, (_, index) => {
    const id = `run_01KAR${String(index % runs).padStart(21, '0')}`;
    const result = returned(`call_${index}`);
    const draft = index < runs ? queued : ({ ...result, data: { ...result.data, text } } as Draft);
    return newEvent(draft, `run/${id}`, writer);
  });
}

function highest(file: string): () => number {
  const db = new Sqlite(file, { readonly: true });
  const select = db.prepare<[], { seq: number | null }>('SELECT MAX(seq) AS seq FROM events');
  return () => select.get()?.seq ?? 0;
}

async function openBare(): Promise<Way> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const file = join(stack.use(await temporaryFolder()).path, 'bare.sqlite');
  const nc = await connect({ servers: nats.url });
  stack.defer(() => nc.close());
  const jsm = await nc.jetstreamManager();
  await jsm.streams.add({ name: 'BARE', subjects: ['bare.>'] });
  const child = fork('test/bench/bare-consumer.ts', [nats.url, file]);
  stack.defer(() => void child.kill());
  await once(child, 'message');
  const committed = highest(file);
  const owned = stack.move();
  return {
    publish: (event) =>
      nc.request(`bare.${event.subject.replace('/', '.')}`, JSON.stringify(event), { timeout: 10_000 }),
    committed,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function openToka(): Promise<Way> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const file = join(stack.use(await temporaryFolder()).path, 'toka.sqlite');
  const bus = stack.use(await openBus({ url: nats.url, name: 'bench', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const env = {
    PATH: process.env.PATH ?? '',
    NATS_URL: nats.url,
    DATABASE_FILE: file,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    CONFIG_FILE: 'none',
  };
  const child = fork('services/store/main.ts', { env, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  stack.defer(() => void child.kill('SIGKILL'));
  await once(child, 'message');
  const committed = highest(file);
  const owned = stack.move();
  return { publish: (event) => bus.append(event), committed, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
