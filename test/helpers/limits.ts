import type { Redis } from 'ioredis';
import { createLogger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { createMetrics } from '#shared/metrics.ts';
import type { Asking } from '../../services/llm-proxy/limits/counters.ts';
import type { Ledger } from '../../services/llm-proxy/limits/ledger.ts';
import type { Grant, Limits } from '../../services/llm-proxy/limits/limits.ts';
import { createLimits } from '../../services/llm-proxy/limits/limits.ts';
import type { Rule } from '../../services/llm-proxy/limits/rule.ts';
import { limitScripts } from '../../services/llm-proxy/limits/scripts.ts';
import type { TestServer } from './servers.ts';
import { connectRedis, startRedis } from './servers.ts';

/** The limits of some llm-proxies on one Redis. */
export type TestLimits = {
  server: TestServer;
  redis: Redis;
  all: Limits[];
  metrics: Metrics[];
  /** As the one at `at` does, for a call of the smallest kind. */
  reserve(asking?: Partial<Asking>, waitMs?: number, at?: number, signal?: AbortSignal): Promise<Grant>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = { instances?: number; queueMax?: number; activeMax?: number; agentsShare?: number; ledger?: Ledger };

const smallest: Asking = {
  ...{ endpoint: 'openai', model: 'gpt', key: 'internal', priority: 'medium' },
  estimate: { tokens: 1, usd: 0 },
};

export async function startLimits(
  rules: readonly Rule[],
  {
    instances = 1,
    queueMax = 1_000,
    activeMax = 10_000,
    agentsShare = 0,
    ledger = async () => undefined,
  }: Options = {},
): Promise<TestLimits> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const connect = async () => {
    const redis = await connectRedis(server.url, {
      ...{ maxRetriesPerRequest: 0, enableOfflineQueue: false, commandTimeout: 1_000, scripts: limitScripts },
    });
    stack.defer(() => redis.disconnect());
    return redis;
  };
  const all: Limits[] = [];
  const metrics: Metrics[] = [];
  const logger = createLogger('llm-proxy', 'test', 'silent');
  for (let index = 0; index < instances; index++) {
    const own = createMetrics('llm-proxy', 'test', 10);
    const options = { instance: `i-${index}`, endpoints: () => ['openai'], ledger, queueMax, activeMax, agentsShare };
    all.push(stack.use(createLimits(await connect(), () => rules, options, logger, own)));
    metrics.push(own);
  }
  const redis = await connect();
  const owned = stack.move();
  return {
    ...{ server, redis, all, metrics },
    async reserve(asking = {}, waitMs = 0, at = 0, signal = new AbortController().signal) {
      const limits = all[at];
      if (!limits) throw new Error(`there is no instance ${at}`);
      return limits.reserve({ ...smallest, ...asking }, waitMs, signal);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
