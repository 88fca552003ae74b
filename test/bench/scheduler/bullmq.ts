import { pathToFileURL } from 'node:url';
import { startRedis } from '#test/helpers/servers.ts';
import { startModule } from '../runner/process.ts';
import type { Contender, Shape } from './contender.ts';

/** As much of BullMQ as is used here. */
export type BullMq = {
  Queue: new (
    name: string,
    options: object,
  ) => { add(name: string, data: object, options: object): Promise<unknown>; close(): Promise<void> };
  QueueEvents: new (
    name: string,
    options: object,
  ) => {
    on(event: 'active' | 'completed', heard: (told: { jobId: string }) => void): unknown;
    waitUntilReady(): Promise<unknown>;
    close(): Promise<void>;
  };
  Worker: new (name: string, work: () => Promise<void>, options: object) => { waitUntilReady(): Promise<unknown> };
};

export const loadBullmq = async (file: string): Promise<BullMq> =>
  ((await import(pathToFileURL(file).href)) as { default: BullMq }).default;

/** BullMQ on a redis-server of its own, which syncs each second, with workers that are processes of their own. */
export async function openBullmq(file: string, { workers, concurrency }: Shape): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const connection = { host: '127.0.0.1', port: redis.port };
  const { Queue, QueueEvents } = await loadBullmq(file);
  const queue = new Queue('bench', { connection });
  stack.defer(() => queue.close());
  const events = new QueueEvents('bench', { connection });
  stack.defer(() => events.close());
  await events.waitUntilReady();
  const on: Contender['on'] = { started: () => undefined, completed: () => undefined };
  events.on('active', ({ jobId }) => on.started(jobId));
  events.on('completed', ({ jobId }) => on.completed(jobId));
  const opened = await Promise.all(
    Array.from({ length: workers }, () =>
      startModule('test/bench/scheduler/bullmq-worker.ts', [file, String(redis.port), String(concurrency)]),
    ),
  );
  for (const each of opened) stack.use(each);
  let count = 0;
  const owned = stack.move();
  return {
    add: (id) => queue.add('nothing', { id }, { jobId: id, removeOnComplete: true }),
    on,
    settled: async () => undefined,
    pids: { workers: opened.map(({ pid }) => pid), bench: [process.pid] },
    newId: () => `job-${count++}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
