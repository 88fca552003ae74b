import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Counter, Share } from './counters.ts';
import { periodOf, splitOf } from './window.ts';

const prefix = '{toka:limit}:';
const instancesKey = `${prefix}instances`;
const instanceMs = 10_000;

const Taken = z.tuple([z.number(), z.number(), z.number(), z.array(z.number())]);
const Announced = z.tuple([z.number(), z.number()]);

/** What became of taking: `blocked` is the share that is in the way, for `waitMs`. `sums` are the counts after it, in Redis' `nowMs`. */
export type Taking = { nowMs: number; blocked: Share | undefined; waitMs: number; sums: readonly number[] };

/** So much more, or less, of a counter in one place of it. */
export type Correction = { counter: Counter; place: number; amount: number };

/** The counts that all replicas share in Redis. Each of them throws where Redis does not answer. */
export type SharedCounts = {
  /** Takes all of it or nothing; `times` as much, where all are calls. `nowMs`: Redis' time, as well as it is known. */
  take(shares: readonly Share[], times: number, nowMs: number): Promise<Taking>;
  correct(corrections: readonly Correction[], nowMs: number): Promise<void>;
  /** Redis' time, and how many instances share it. */
  announce(): Promise<{ nowMs: number; instances: number }>;
};

export function createSharedCounts(redis: Redis, instance: string): SharedCounts {
  return {
    async take(shares, times, nowMs) {
      if (shares.length === 0) return { nowMs, blocked: undefined, waitMs: 0, sums: [] };
      const keys = shares.map(({ counter }) => keyOf(counter, nowMs));
      const values = shares.flatMap(({ counter, limit, amount }) => [limit, amount * times, ...spanOf(counter, nowMs)]);
      const answer = await redis.takeLimits(keys.length, ...keys, ...values);
      const [timeMs, blockedAt, wait, sums] = Taken.parse(answer);
      const blocked = shares[blockedAt - 1];
      const waitMs =
        wait >= 0 || blocked?.counter.rule.kind !== 'usd' ? wait : leftOf(blocked.counter.rule.per, timeMs);
      return { nowMs: timeMs, blocked, waitMs, sums };
    },
    async correct(corrections, nowMs) {
      // What belongs to a period that is over is corrected in its own key.
      const keys = corrections.map(({ counter, place }) => keyOf(counter, counter.rule.kind === 'usd' ? place : nowMs));
      const values = corrections.flatMap(({ counter, place, amount }) => [place, amount, ...spanOf(counter, nowMs)]);
      await redis.correctLimits(keys.length, ...keys, ...values);
    },
    async announce() {
      const [nowMs, instances] = Announced.parse(await redis.announceInstance(instancesKey, instance, instanceMs));
      return { nowMs, instances };
    },
  };
}

function keyOf({ id, rule }: Counter, nowMs: number): string {
  if (rule.kind !== 'usd') return prefix + id;
  return `${prefix}${id}:${new Date(periodOf(rule.per, nowMs).fromMs).toISOString().slice(0, 10)}`;
}

const leftOf = (per: 'day' | 'month', nowMs: number) => periodOf(per, nowMs).toMs - nowMs;

/** Its bucketMs, and how long it is held; a period's count is kept a while longer, for calls that end late. */
function spanOf({ rule }: Counter, nowMs: number): [number, number] {
  if (rule.kind === 'usd') return [0, leftOf(rule.per, nowMs) + 86_400_000];
  const { bucketMs, heldMs } = splitOf(rule.windowMs);
  return [bucketMs, heldMs];
}
