import test from 'ava';
import type { JetStreamManager } from 'nats';
import { connect } from 'nats';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { sweepTasks } from '#shared/bus/sweep-tasks.ts';
import type { Lease } from '#shared/bus/tasks.ts';
import { newId } from '#shared/ids.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { natsServers, startNats } from '#test/helpers/servers.ts';

const leaseMs = 1_000;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function open(program: string) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(program, { leaseMs }));
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs, replicas: 1 }, () => undefined));
  const nc = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  stack.defer(() => nc.close());
  const jsm: JetStreamManager = await nc.jetstreamManager();
  const owned = stack.move();
  return { nats, bus, jsm, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Puts so many runs on the queue. */
async function put(bus: Bus, count: number): Promise<string[]> {
  const runs = Array.from({ length: count }, () => newId('run'));
  for (const runId of runs) await bus.tasks.add('low', { runId }, newId('evt'));
  return runs;
}

/** Kills the server with acknowledgements under way, and works on as runners do until nothing comes any more. */
async function crashAtWork({ nats, bus }: { nats: TestServer; bus: Bus }): Promise<void> {
  let came = 0;
  const stop = new AbortController();
  const working = work(bus, stop.signal, (lease) => {
    came += 1;
    setTimeout(lease.ack, Math.random() * 100);
  });
  const putting = put(bus, 300);
  await eventually(() => came > 150);
  await nats.kill();
  await nats.start();
  await putting;
  for (let before = -1; before !== came; ) {
    before = came;
    await sleep(3 * leaseMs);
  }
  stop.abort();
  await working;
}

async function work(bus: Bus, signal: AbortSignal, onLease: (lease: Lease) => void): Promise<void> {
  while (!signal.aborted) await bus.tasks.take(50, signal, onLease);
}

for (const program of natsServers)
  test(`a sweep takes what is acknowledged, and nothing that waits, is held or has come anew: ${program}`, async (t) => {
    await using system = await open(program);
    const { bus, jsm } = system;
    let left = new Set<string>();
    // With 2.9.10 about half of the crashes leave some, with 2.15.1 none does.
    for (let crash = 0; crash < (program === 'nats-server' ? 10 : 1) && left.size === 0; crash++) {
      await crashAtWork(system);
      left = await bus.tasks.queued();
    }
    t.log(`${left.size} acknowledged tasks are still there`);

    const [again] = left;
    const [held = ''] = await put(bus, 1);
    const { promise, resolve } = Promise.withResolvers<Lease>();
    await bus.tasks.take(1, new AbortController().signal, resolve);
    const lease = await promise;
    const renewing = setInterval(() => lease.working(), leaseMs / 4);
    const waiting = await put(bus, 3);
    // A run of which an old task is left has a new one, which takes its place.
    if (again) await bus.tasks.add('low', { runId: again }, newId('evt'));
    const alive = [held, ...waiting, ...(again ? [again] : [])];
    // More than once: the floor may lie behind some of them at first.
    let removed = 0;
    await eventually(async () => {
      removed += await sweepTasks(jsm);
      return removed >= left.size - 1;
    });
    clearInterval(renewing);
    t.deepEqual([...(await bus.tasks.queued())].sort(), alive.toSorted());
    t.is(removed, Math.max(0, left.size - 1));
    lease.nak();
    const runs = new Set<string>();
    const stop = new AbortController();
    const working = work(bus, stop.signal, (each) => {
      runs.add(each.task.runId);
      each.ack();
    });
    await eventually(async () => (await bus.tasks.queued()).size === 0);
    stop.abort();
    await working;
    t.deepEqual([...runs].sort(), alive.sort());
    t.is(await sweepTasks(jsm), 0);
  });
