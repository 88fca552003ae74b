import test from 'ava';
import { connect } from 'nats';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { Lease } from '#shared/bus/tasks.ts';
import { request } from '#shared/contracts/contract.ts';
import { Failure } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startNats } from '#test/helpers/servers.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const open = (url: string, leaseMs = 1_000) => openBus({ url, name: 'test', leaseMs, replicas: 1 }, () => undefined);
const nudge = (id: string) =>
  newEvent({ type: 'toka.run.dispatched.v1', data: { reason: 'test' } }, `run/${id}`, writer);

test('an append is refused when another writer was first, and a repeated one is not doubled', async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  const id = newId('run');
  const first = nudge(id);
  const seq = await bus.append(first, 0);
  t.is(await bus.append(first, 0), seq, 'the same event again is the same event');
  await t.throwsAsync(bus.append(nudge(id), 0), { instanceOf: Failure, code: 'conflict' });
  await bus.append(nudge(id), seq);
  const events = await bus.read('run', id);
  t.is(events.length, 2);
  t.deepEqual(events[0], { ...first, seq });
});

test('what a stream has no room for was not written, and whoever wrote it is told', async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  await bus.append(nudge(newId('run')));
  const nc = await connect({ servers: nats.url });
  const jsm = await nc.jetstreamManager();
  const { config } = await jsm.streams.info('EVENTS');
  await jsm.streams.update('EVENTS', { ...config, max_bytes: 1_000 });
  const event = nudge(newId('run'));
  const large = { ...event, data: { reason: 'x'.repeat(2_000) } } as typeof event;
  await t.throwsAsync(bus.append(large, undefined, 200), { code: 'disk-full', message: /maximum bytes exceeded/ });
  t.is(await bus.lastSeq(), 1);
  await nc.close();
});

test('appends wait for a nats-server that is away, and a follower goes on without gap or double', async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  const stop = new AbortController();
  const seen: number[] = [];
  const following = (async () => {
    for await (const raw of bus.follow({ from: 1, signal: stop.signal })) {
      t.truthy(bus.readEvent(raw)?.id);
      seen.push(raw.seq);
    }
  })();
  for (let count = 0; count < 1_200; count++) await bus.append(nudge(newId('run')));
  await nats.kill();
  const waiting = Promise.all(Array.from({ length: 5 }, () => bus.append(nudge(newId('run')))));
  await nats.start();
  await waiting;
  await eventually(() => seen.length >= 1_205);
  t.deepEqual(
    seen,
    Array.from({ length: 1_205 }, (_, index) => index + 1),
  );
  stop.abort();
  await following;
});

const double = request('toka.test.double', z.object({ value: z.number() }), z.number());

test('a question is answered by one of the group, and its failure crosses the bus as it is', async (t) => {
  await using nats = await startNats();
  await using asker = await open(nats.url);
  await t.throwsAsync(asker.ask(double, { value: 1 }), { code: 'unavailable' });
  await using answerer = await open(nats.url);
  answerer.answer(double, ({ value }) => {
    if (value < 0) throw new Failure('limited', 'no negatives today', { retryAfterMs: 5_000 });
    return value * 2;
  });
  await eventually(async () => (await asker.ask(double, { value: 21 })) === 42);
  const refused = await t.throwsAsync<Failure>(asker.ask(double, { value: -1 }), {
    code: 'limited',
    message: 'no negatives today',
  });
  t.is(refused?.retryAfterMs, 5_000);
  await t.throwsAsync(asker.ask(double, { value: 'x' as unknown as number }), { code: 'invalid', message: /value/ });
});

/** Takes one task that is there. */
async function takeOne(bus: Bus): Promise<Lease | undefined> {
  const stop = new AbortController();
  const { promise, resolve } = Promise.withResolvers<Lease | undefined>();
  const taking = bus.tasks.take(1, stop.signal, resolve);
  const timer = setTimeout(() => resolve(undefined), 200);
  const lease = await promise;
  clearTimeout(timer);
  stop.abort();
  await taking;
  return lease;
}

test('a task goes to one taker, comes back when its lease runs out, and not while it is renewed', async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url, 500);
  const one = newId('run');
  const other = newId('run');
  await bus.tasks.add('low', { runId: one }, newId('evt'));
  await bus.tasks.add('high', { runId: other }, newId('evt'));
  const first = await takeOne(bus);
  t.is(first?.task.runId, one, 'in the order in which they were put');
  const second = await takeOne(bus);
  t.is(second?.task.runId, other);
  t.is(await takeOne(bus), undefined);
  first?.ack();
  const renewing = setInterval(() => second?.working(), 100);
  await new Promise((resolve) => setTimeout(resolve, 900));
  t.is(await takeOne(bus), undefined, 'it is held');
  clearInterval(renewing);
  const again = await eventually(() => takeOne(bus));
  t.is(again.task.runId, other);
  t.deepEqual([...(await bus.tasks.queued())], [other]);
});

test('a taker that leaves while a task is on its way leaves it to the next', async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url, 60_000);
  for (let round = 0; round < 50; round++) {
    const stop = new AbortController();
    const runId = newId('run');
    const taking = bus.tasks.take(1, stop.signal, (lease) => lease.nak());
    const adding = bus.tasks.add('low', { runId }, newId('evt'));
    if (round % 2) await adding;
    stop.abort();
    await Promise.all([taking, adding]);
    const lease = await eventually(() => takeOne(bus));
    t.is(lease.task.runId, runId);
    lease.ack();
    await eventually(async () => (await bus.tasks.queued()).size === 0);
  }
});

test('artifacts are kept by the hash of their bytes', async (t) => {
  await using nats = await startNats();
  await using bus: Bus = await open(nats.url);
  const bytes = Buffer.alloc(300_000, 'x');
  const ref = await bus.artifacts.put(bytes);
  t.deepEqual(await bus.artifacts.put(bytes), ref);
  t.true((await bus.artifacts.get(ref)).equals(bytes));
  await t.throwsAsync(bus.artifacts.get({ ...ref, sha256: '0'.repeat(64) }), { code: 'gone' });
});

test('an artifact that several keep at the same time can be fetched by each', async (t) => {
  await using nats = await startNats();
  await using stack = new AsyncDisposableStack();
  const open = () => openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, t.log);
  const buses = [stack.use(await open()), stack.use(await open()), stack.use(await open())];
  for (let round = 1; round <= 10; round++) {
    const bytes = Buffer.from(`the same ${round} `.repeat(20_000));
    const fetched = await Promise.all(
      buses.map(async ({ artifacts }, index) => {
        await new Promise((resolve) => setTimeout(resolve, index * Math.random() * 6));
        return artifacts.get(await artifacts.put(bytes));
      }),
    );
    t.true(fetched.every((each) => each.equals(bytes)));
  }
});

test("artifacts are objects of NATS' own kind: any client reads them", async (t) => {
  await using nats = await startNats();
  await using bus = await open(nats.url);
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('few'),
    Buffer.alloc(128 * 1024, 'x'),
    Buffer.alloc(300_001, 'y'),
  ]) {
    const { sha256 } = await bus.artifacts.put(bytes);
    const nc = await connect({ servers: nats.url });
    const store = await nc.jetstream().views.os('artifacts');
    t.true(Buffer.from((await store.getBlob(sha256)) ?? 'nothing').equals(bytes));
    t.is((await store.info(sha256))?.size, bytes.byteLength);
    await nc.close();
  }
});
