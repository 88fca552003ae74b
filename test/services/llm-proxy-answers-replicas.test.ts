import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { z } from 'zod';
import { eventually } from '#test/helpers/eventually.ts';
import { startRedis } from '#test/helpers/servers.ts';

const program = fileURLToPath(new URL('../fixtures/answers/replica.ts', import.meta.url));

const Message = z.union([
  z.object({ ready: z.literal(true) }),
  z.object({ making: z.string(), pid: z.number() }),
  z.object({ id: z.number(), text: z.string(), cache: z.string() }),
  z.object({ id: z.number(), problem: z.string() }),
]);
type Reply = { text: string; cache: string } | { problem: string };

/** Processes that share a Redis; `calls` are those that they made, by their pids. */
async function startReplicas(url: string, count: number) {
  await using stack = new AsyncDisposableStack();
  const calls: { key: string; pid: number }[] = [];
  let asked = 0;
  const start = async () => {
    const child = fork(program, [url]);
    const gone = once(child, 'exit');
    stack.defer(async () => {
      child.kill('SIGKILL');
      await gone;
    });
    const waiting = new Map<number, (reply: Reply) => void>();
    const ready = Promise.withResolvers<void>();
    child.on('message', (raw) => {
      const message = Message.parse(raw);
      if ('ready' in message) ready.resolve();
      else if ('making' in message) calls.push({ key: message.making, pid: message.pid });
      else waiting.get(message.id)?.(message);
    });
    child.on('exit', () => {
      for (const answer of waiting.values()) answer({ problem: 'the process is gone' });
    });
    await ready.promise;
    return {
      pid: child.pid ?? 0,
      async kill() {
        child.kill('SIGKILL');
        await gone;
      },
      /** Asks for an answer that takes `ms` to make. */
      ask(key: string, ms: number): Promise<Reply> {
        const id = ++asked;
        const { promise, resolve } = Promise.withResolvers<Reply>();
        waiting.set(id, resolve);
        child.send({ id, key, ms });
        return promise;
      },
    };
  };
  const replicas = await Promise.all(Array.from({ length: count }, start));
  const started = stack.move();
  return { replicas, calls, [Symbol.asyncDispose]: () => started.disposeAsync() };
}

test.serial('a hundred equal questions to three processes make one call', async (t) => {
  await using redis = await startRedis();
  await using system = await startReplicas(redis.url, 3);
  for (const key of ['a', 'b', 'c']) {
    const asked = Array.from({ length: 100 }, (_, at) => system.replicas[at % 3]?.ask(key, 400));
    const replies = await Promise.all(asked);
    const calls = system.calls.filter((call) => call.key === key);
    t.is(calls.length, 1);
    const words = replies.map((reply) => (reply && 'cache' in reply ? `${reply.cache} ${reply.text}` : 'none'));
    const text = `by ${calls[0]?.pid}`;
    t.is(words.filter((word) => word === `miss ${text}`).length, 1);
    t.is(words.filter((word) => word === `coalesced ${text}`).length, 99);
  }
});

test.serial(
  'when the process that makes the call is killed, one of the others takes over within the life of its lock',
  async (t) => {
    await using redis = await startRedis();
    await using system = await startReplicas(redis.url, 3);
    const { replicas, calls } = system;
    const asked = replicas.flatMap((replica) =>
      Array.from({ length: 5 }, () => ({ replica, reply: replica.ask('a', 3_000) })),
    );
    await eventually(() => calls.length === 1);
    const leader = replicas.find(({ pid }) => pid === calls[0]?.pid);
    await leader?.kill();
    const killed = performance.now();
    await eventually(() => calls.length === 2);
    const ms = performance.now() - killed;
    t.true(ms < 3_750, `${ms} ms`);
    for (const { replica, reply } of asked) {
      if (replica === leader) continue;
      t.like(await reply, { text: `by ${calls[1]?.pid}` });
    }
    t.is(calls.length, 2, 'and one only');
  },
);

test.serial(
  'when Redis is killed in the middle of a call, every process goes on, each with one call at most',
  async (t) => {
    await using redis = await startRedis();
    await using system = await startReplicas(redis.url, 3);
    const { replicas, calls } = system;
    const asked = replicas.flatMap((replica) => Array.from({ length: 10 }, () => replica.ask('a', 1_500)));
    await eventually(() => calls.length === 1);
    await redis.kill();
    for (const reply of await Promise.all(asked)) t.regex('text' in reply ? reply.text : '', /^by \d+$/);
    t.is(new Set(calls.map(({ pid }) => pid)).size, calls.length);
  },
);
