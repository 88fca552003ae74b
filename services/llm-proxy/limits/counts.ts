import type { Redis } from 'ioredis';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Counter, Share } from './counters.ts';
import { createLeases } from './leases.ts';
import type { Ledger } from './ledger.ts';
import type { LocalCounts } from './local-counts.ts';
import { createLocalCounts } from './local-counts.ts';
import type { Pending } from './pending.ts';
import { createPending } from './pending.ts';
import type { Correction, Taking } from './shared-counts.ts';
import { createSharedCounts } from './shared-counts.ts';
import type { ShowLeft } from './show-left.ts';
import { createShowLeft } from './show-left.ts';
import { placeOf } from './window.ts';

/** `amount` more, or less, of the share at `at` of what was taken: in all, `whole`. */
export type Change = { counter: Counter; amount: number; whole: number; taking: Taking; at: number };

/** All counts: in Redis, or here as long as it is away. */
export type Counts = {
  /** Takes all of it or nothing. Never throws. */
  take(shares: readonly Share[]): Promise<Taking>;
  /** Counts so much more or less of a share that was taken. */
  correct(change: Change): void;
  /** Tells Redis at once of what was corrected, before whatever is taken next. */
  flush(): void;
  state(): 'shared' | 'local';
  [Symbol.dispose](): void;
};

const lookMs = 1_000;
/** Redis is not waited for so long (see redis.ts): whoever was, stood still himself, and has learnt nothing of Redis. */
const stillMs = 2_000;
const awayText = 'limits hold by share: Redis cannot be reached';

/** `shown`: what to look at now and then, with amounts of 0. */
export function createCounts(
  redis: Redis,
  shown: () => readonly Share[],
  instance: string,
  ledger: Ledger,
  logger: Logger,
  metrics: Metrics,
): Counts {
  const shared = createSharedCounts(redis, instance, ledger);
  // Redis' clock is everyone's; between two looks at it, and without it, time goes on evenly.
  const known = { instances: 1, offsetMs: Date.now() - performance.now(), isAway: false };
  const local = createLocalCounts(() => known.instances);
  const leases = createLeases();
  const left = createShowLeft(metrics);
  const nowMs = () => Math.round(performance.now() + known.offsetMs);

  const leave = (error: unknown, askedMs: number) => {
    if (performance.now() - askedMs > stillMs) return;
    if (!known.isAway) logger.warn({ reason: messageOf(error), instances: known.instances }, awayText);
    known.isAway = true;
    leases.drop();
    metrics.llmLimitsLocal.set(1);
  };
  const pending = createPending((corrections) => shared.correct(corrections, nowMs()), leave);
  const takeShared = async (shares: readonly Share[], times: number) => {
    const taking = await shared.take(shares, times, nowMs());
    for (const each of [local, left]) each.note(shares, taking);
    return taking;
  };
  const learn = createLearner(local, ledger, nowMs);
  const takeHere = (shares: readonly Share[]) =>
    learn(shares).then(() => takeLocally(shares, local, left, pending, nowMs()));
  const comeBack = async () => {
    await pending.flush();
    known.isAway = false;
    local.forget();
    metrics.llmLimitsLocal.set(0);
    logger.info('limits are shared again: Redis is back');
    pending.flushSoon();
  };
  const look = async () => {
    const said = await shared.announce();
    Object.assign(known, { instances: said.instances, offsetMs: said.nowMs - performance.now() });
    if (known.isAway) await comeBack();
    // Calls of other instances, and time, change what is left.
    await takeShared(shown(), 1);
  };
  metrics.llmLimitsLocal.set(0);
  left.note(shown(), { sums: [] });
  const looking = repeatNow(look, leave);
  const take = (shares: readonly Share[]): Promise<Taking> => {
    if (known.isAway) return takeHere(shares);
    const askedMs = performance.now();
    return leases
      .take(shares, nowMs, (times) => takeShared(shares, times))
      .catch((error: unknown) => {
        leave(error, askedMs);
        return known.isAway ? takeHere(shares) : take(shares);
      });
  };

  return {
    take,
    correct(change) {
      const correction = correctionOf(change);
      pending.add(correction);
      if (known.isAway) local.correct(correction);
      else pending.flushSoon();
    },
    flush: () => (known.isAway ? undefined : pending.flushNow()),
    state: () => (known.isAway ? 'local' : 'shared'),
    [Symbol.dispose]() {
      clearInterval(looking);
      pending[Symbol.dispose]();
      if (!known.isAway) pending.flush().catch(() => undefined);
    },
  };
}

/** Looks now and every `lookMs`. */
function repeatNow(look: () => Promise<void>, failed: (error: unknown, askedMs: number) => void): NodeJS.Timeout {
  const lookOnce = () => {
    const askedMs = performance.now();
    look().catch((error: unknown) => failed(error, askedMs));
  };
  lookOnce();
  return setInterval(lookOnce, lookMs).unref();
}

function takeLocally(
  shares: readonly Share[],
  local: LocalCounts,
  left: ShowLeft,
  pending: Pending,
  nowMs: number,
): Taking {
  const taking = local.take(shares, nowMs);
  left.note(shares, taking);
  if (!taking.blocked) correctionsOf(shares, taking).forEach(pending.add);
  return taking;
}

const correctionOf = ({ counter, amount, whole, taking, at }: Change): Correction => ({
  ...{ counter, amount, whole, place: placeOf(counter.rule, taking.nowMs) },
  epoch: taking.epochs?.[at] ?? -1,
});

/** Reads from the ledger what budgets have spent that nobody here has seen yet. */
const createLearner = (local: LocalCounts, ledger: Ledger, nowMs: () => number) => async (shares: readonly Share[]) => {
  const unread = shares.filter(({ counter }) => counter.rule.kind === 'usd' && !local.knows(counter));
  if (unread.length === 0) return;
  const counters = unread.map(({ counter }) => counter);
  const sums = await ledger(counters, nowMs());
  if (sums) local.note(unread, { nowMs: nowMs(), sums });
};

/** What Redis must hear of later. */
const correctionsOf = (shares: readonly Share[], { nowMs }: Taking): Correction[] =>
  shares.map(({ counter, amount }) => ({
    ...{ counter, amount, place: placeOf(counter.rule, nowMs) },
    ...{ whole: amount, epoch: -1 },
  }));
