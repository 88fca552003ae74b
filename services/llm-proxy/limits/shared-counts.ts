import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Counter, Share } from './counters.ts';
import type { Ledger } from './ledger.ts';
import { periodOf, splitOf } from './window.ts';

const prefix = '{toka:limit}:';
const instancesKey = `${prefix}instances`;
const instanceMs = 10_000;

const numbers = z.array(z.number());
const Taken = z.tuple([z.number(), z.number(), z.number(), numbers, numbers]);
const Announced = z.tuple([z.number(), z.number()]);

/**
 * What became of taking: `blocked` is the share that is in the way, for `waitMs`. `sums` are the counts after it, in Redis' `nowMs`;
 * `epochs`, of periods, are when their sums were read from the ledger. Without them it was not taken in Redis. `askedMs`, by
 * `performance.now()`: it was counted after that.
 */
export type Taking = {
  nowMs: number;
  askedMs: number;
  blocked: Share | undefined;
  waitMs: number;
  sums: readonly number[];
  epochs?: readonly number[];
};

/** So much more, or less, of a counter in one place of it. `whole`: with what was counted at `epoch`; -1: that is to be counted, too. */
export type Correction = { counter: Counter; place: number; amount: number; whole: number; epoch: number };

/** The counts that all replicas share in Redis. Each of them throws where Redis does not answer. */
export type SharedCounts = {
  /** Takes all of it or nothing; `times` as much, where all are calls. `nowMs`: Redis' time, as well as it is known. */
  take(shares: readonly Share[], times: number, nowMs: number): Promise<Taking>;
  correct(corrections: readonly Correction[], nowMs: number): Promise<void>;
  /** Redis' time, and how many instances share it. */
  announce(): Promise<{ nowMs: number; instances: number }>;
};

export function createSharedCounts(redis: Redis, instance: string, ledger: Ledger): SharedCounts {
  const begin = createBegin(redis, ledger);
  return {
    async take(shares, times, nowMs) {
      let askedMs = performance.now();
      if (shares.length === 0) return { nowMs, askedMs, blocked: undefined, waitMs: 0, sums: [] };
      const keys = shares.map(({ counter }) => keyOf(counter, nowMs));
      const values = shares.flatMap(({ counter, limit, amount }) => [limit, amount * times, ...spanOf(counter, nowMs)]);
      const ask = async (goOn: boolean) => {
        askedMs = performance.now();
        return Taken.parse(await redis.takeLimits(keys.length, ...keys, ...values, goOn ? 1 : 0));
      };
      let taken = await ask(false);
      if (taken[1] === -1) {
        const unread = shares.filter(({ counter: { rule } }, at) => rule.kind === 'usd' && taken[4][at] === 0);
        await Promise.all(unread.map(({ counter }) => begin(counter, nowMs)));
        taken = await ask(true);
      }
      const [timeMs, blockedAt, wait, sums, epochs] = taken;
      const blocked = shares[blockedAt - 1];
      const waitMs =
        wait >= 0 || blocked?.counter.rule.kind !== 'usd' ? wait : leftOf(blocked.counter.rule.per, timeMs);
      return { nowMs: timeMs, askedMs, blocked, waitMs, sums, epochs };
    },
    async correct(corrections, nowMs) {
      // What belongs to a period that is over is corrected in its own key.
      const keys = corrections.map(({ counter, place }) => keyOf(counter, counter.rule.kind === 'usd' ? place : nowMs));
      const values = corrections.flatMap(({ counter, place, amount, epoch, whole }) => [
        ...[place, amount, ...spanOf(counter, nowMs)],
        ...[epoch, whole],
      ]);
      await redis.correctLimits(keys.length, ...keys, ...values);
    },
    async announce() {
      const [nowMs, instances] = Announced.parse(await redis.announceInstance(instancesKey, instance, instanceMs));
      return { nowMs, instances };
    },
  };
}

/** Has a period begin with what the ledger says, if it does: once for all who need it at the same time. */
function createBegin(redis: Redis, ledger: Ledger) {
  const beginning = new Map<string, Promise<void>>();
  const begin = async (counter: Counter, key: string, nowMs: number) => {
    const [spent] = (await ledger([counter], nowMs)) ?? [];
    const [, keptMs] = spanOf(counter, nowMs);
    if (spent !== undefined) await redis.beginPeriods(1, key, spent, keptMs);
  };
  return (counter: Counter, nowMs: number): Promise<void> => {
    const key = keyOf(counter, nowMs);
    const known = beginning.get(key) ?? begin(counter, key, nowMs).finally(() => beginning.delete(key));
    beginning.set(key, known);
    return known;
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
