import { join } from 'node:path';
import { Redis } from 'ioredis';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startRedis } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { canSync, startNats } from '../runner/nats.ts';
import { startModule } from '../runner/process.ts';
import type { Contender } from './contender.ts';
import { mintKey } from './mint-key.ts';

const natsServer = 'nats-server';

/** Of the key: so much that none of it holds a call up, but all of it is counted. */
const terms = {
  limits: { requests: 10_000_000, tokens: 1_000_000_000, window: 60 },
  budget: { usd: 1_000_000, per: 'month' },
} as const;

/**
 * Toka's llm-proxy as a process of its own, with a nats-server, a Redis and a store that nobody else uses, and a client key with limits and a
 * budget.
 */
export async function openToka(upstream: number): Promise<Contender> {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(natsServer, await canSync(natsServer)));
  const redis = stack.use(await startRedis());
  const port = await freePort();
  const common = {
    NATS_URL: nats.url,
    CONFIG_FILE: 'none',
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
  };
  const env = {
    ...common,
    REDIS_URL: redis.url,
    LLM_PROVIDER: 'openai',
    OPENAI_API_KEY: 'sk-bench',
    OPENAI_BASE_URL: `http://127.0.0.1:${upstream}/v1`,
    LLM_HOST: '127.0.0.1',
    LLM_PORT: String(port),
    LLM_CONCURRENCY: '1024',
    RATE_LIMIT_REQUESTS: '1000000',
  };
  const secret = await mintKey(nats.url, terms); // which makes the streams, too
  const folder = stack.use(await temporaryFolder()).path;
  stack.use(await startModule('services/store/main.ts', [], { ...common, DATABASE_FILE: join(folder, 'toka.sqlite') }));
  const proxy = stack.use(await startModule('services/llm-proxy/main.ts', [], env));
  await eventually(() => answers(port), 5_000).catch((error) => {
    throw new Error(`llm-proxy does not listen on its LLM_PORT ${port}`, { cause: error });
  });
  await eventually(() => isKnown(port, secret));
  const owned = stack.move();
  return {
    port,
    headers: { authorization: `Bearer ${secret}` },
    pids: { gateway: [proxy.pid], redis: [await pidOf(redis.url)], nats: [nats.pid] },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whether the proxy has read of the key. */
async function isKnown(port: number, secret: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${port}/v1/models`, { headers: { authorization: `Bearer ${secret}` } });
  await answer.arrayBuffer();
  return answer.ok;
}

async function pidOf(url: string): Promise<number> {
  const redis = new Redis(url);
  try {
    return Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  } finally {
    redis.disconnect();
  }
}
