import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const key = '{toka:limit}:calls';
const lookMs = 1_000;
const keyOf = (id: string) => `{toka:limit}:key:${id}`;
const Admission = z.tuple([z.number(), z.number(), z.number()]);

export type RateLimit = {
  /** Counts a call that begins now; throws `limited` where it would be one too many in the window. */
  admit(): Promise<void>;
  /** As `admit`, for calls of one client key alone. */
  admitKey(id: string, requests: number, windowMs: number): Promise<void>;
  [Symbol.dispose](): void;
};

/** A sliding window that all instances share in Redis. A limit that nobody counts is none: without Redis no call begins. */
export async function openRateLimit(
  redis: Redis,
  requests: number,
  windowSeconds: number,
  metrics: Metrics,
): Promise<RateLimit> {
  const ask = async (nonce: string) => {
    const [allowed, left, waitMs] = Admission.parse(await redis.admitCall(key, requests, windowSeconds * 1_000, nonce));
    metrics.llmRateRemaining.set(left);
    return { allowed: allowed === 1, waitMs };
  };
  const away = (cause: unknown) => {
    const text = 'Redis, which counts model calls, cannot be reached; check REDIS_URL';
    throw new Failure('unavailable', text, { cause, retryAfterMs: 1_000 });
  };
  const refuse = (text: string, waitMs: number) => {
    metrics.llmRateLimited.inc();
    throw new Failure('limited', text, { retryAfterMs: Math.max(1, Math.ceil(waitMs)) });
  };
  // Calls of other instances, and time, change what is left.
  const look = () => ask('').then(undefined, () => metrics.llmRateRemaining.set(0));
  metrics.llmRateLimit.set(requests);
  await look();
  const looking = setInterval(look, lookMs);
  return {
    async admit() {
      const { allowed, waitMs } = await ask(randomUUID()).catch(away);
      if (!allowed)
        refuse(`RATE_LIMIT_REQUESTS is reached: ${requests} model calls in ${windowSeconds} seconds`, waitMs);
    },
    async admitKey(id, limit, windowMs) {
      const answer = await redis.admitCall(keyOf(id), limit, windowMs, randomUUID()).catch(away);
      const [allowed, , waitMs] = Admission.parse(answer);
      const seconds = windowMs / 1_000;
      if (allowed !== 1) refuse(`the key's limit is reached: ${limit} model calls in ${seconds} seconds`, waitMs);
    },
    [Symbol.dispose]: () => clearInterval(looking),
  };
}
