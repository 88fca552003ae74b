import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Counter, Share } from './counters.ts';
import type { Ledger } from './ledger.ts';
import type { Reservations } from './reservations.ts';
import { periodOf, placeOf, splitOf } from './window.ts';

const prefix = '{toka:limit}:';
const instancesKey = `${prefix}instances`;
const heldKey = `${prefix}held`;
const instanceMs = 10_000;

const numbers = z.array(z.number());
const Taken = z.tuple([z.number(), z.number(), z.number(), numbers, numbers]);
const Announced = z.tuple([z.number(), z.number(), z.number(), z.array(z.string())]);
const Held = z.record(z.string(), z.number());
const beginsMax = 20;

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
  /** Says what calls under way hold here of each count. Answers Redis' time, how many instances share it, since when it knows of any, and what all of them hold. */
  announce(
    own: Readonly<Record<string, number>>,
  ): Promise<{ nowMs: number; instances: number; bornMs: number; held: ReadonlyMap<string, number> }>;
  /**
   * Has a period counted anew from what the ledger says and what is held, where it is not counted; where it is, adds what is held here. False:
   * the ledger cannot tell.
   */
  begin(counter: Counter, nowMs: number): Promise<boolean>;
};

/** `flush`: tells Redis of all corrections that are known. */
export function createSharedCounts(
  redis: Redis,
  instance: string,
  ledger: Ledger,
  reservations: Reservations,
  flush: () => Promise<void>,
): SharedCounts {
  const begin = createBegin(redis, ledger, reservations, flush);
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
      for (let attempt = 1; taken[1] === -1; attempt++) {
        const epochs = taken[4];
        const unread = shares.filter(({ counter: { rule } }, at) => rule.kind === 'usd' && epochs[at] === 0);
        const [begun] = await Promise.all([
          Promise.all(unread.map(({ counter }) => begin(counter, nowMs))),
          delay(taken[2]),
        ]);
        // What cannot be read is counted from now on.
        taken = await ask(begun.includes(false) || attempt === beginsMax);
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
    async announce(own) {
      const text = JSON.stringify(own);
      const said = await redis.announceInstance(instancesKey, heldKey, instance, instanceMs, text);
      const [nowMs, instances, bornMs, all] = Announced.parse(said);
      const held = new Map<string, number>();
      for (const each of all)
        for (const [id, amount] of Object.entries(Held.parse(JSON.parse(each))))
          held.set(id, (held.get(id) ?? 0) + amount);
      return { nowMs, instances, bornMs, held };
    },
    begin,
  };
}

/** Has a period begin with what the ledger says and what is held here: once for all who need it at the same time. */
function createBegin(redis: Redis, ledger: Ledger, reservations: Reservations, flush: () => Promise<void>) {
  const beginning = new Map<string, Promise<boolean>>();
  const begin = async (counter: Counter, key: string, nowMs: number) => {
    const place = placeOf(counter.rule, nowMs);
    for (let attempt = 1; ; attempt++) {
      // What has ended is in the ledger before that is read, and its correction has gone where the count was.
      await reservations.recorded(counter, place);
      await flush();
      const ended = reservations.ended(counter, place);
      const [spent] = (await ledger([counter], nowMs)) ?? [];
      if (spent === undefined) return false;
      const current = Number((await redis.hget(key, 'epoch')) ?? 0);
      // What ended meanwhile may be in what was read, or not. Where calls end all the time, it is counted twice rather than not at all.
      if (reservations.ended(counter, place) !== ended && attempt < beginsMax) continue;
      const epoch = randomInt(1, 2 ** 47);
      const held = reservations.adopt(counter, place, epoch, (each) => current === 0 || each.epoch !== current);
      const [, keptMs] = spanOf(counter, nowMs);
      const found = z.number().parse(await redis.beginPeriod(key, spent + held, keptMs, epoch));
      const more =
        found === epoch ? 0 : reservations.adopt(counter, place, found, (each) => each.isOpen && each.epoch === epoch);
      if (more > 0) await redis.correctLimits(1, key, place, more, ...spanOf(counter, nowMs), -1, more);
      return true;
    }
  };
  return (counter: Counter, nowMs: number): Promise<boolean> => {
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
