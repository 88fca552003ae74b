import type { Redis } from 'ioredis';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Share } from './counters.ts';
import { createLeases } from './leases.ts';
import type { Ledger } from './ledger.ts';
import type { LocalCounts } from './local-counts.ts';
import { createLocalCounts } from './local-counts.ts';
import { createOthers, lookAround, lookMs } from './others.ts';
import type { Pending } from './pending.ts';
import { createPending } from './pending.ts';
import type { Reservations } from './reservations.ts';
import type { Correction, Taking } from './shared-counts.ts';
import { createSharedCounts } from './shared-counts.ts';
import type { ShowLeft } from './show-left.ts';
import { createShowLeft } from './show-left.ts';
import { placeOf } from './window.ts';

/** All counts: in Redis, or here as long as it is away. */
export type Counts = {
  /** Takes all of it or nothing. Never throws. */
  take(shares: readonly Share[]): Promise<Taking>;
  /** Counts so much more or less of a share that was taken. */
  correct(correction: Correction): void;
  /** Tells Redis at once of what was corrected, before whatever is taken next. */
  flush(): void;
  state(): 'shared' | 'local';
  /** What calls under way hold of a count that came to `sum`; undefined: what those of other instances hold is not known yet. */
  held(id: string, sum: number): number | undefined;
  [Symbol.dispose](): void;
};

/** Redis is not waited for so long (see redis.ts): whoever was, stood still himself, and has learnt nothing of Redis. */
const stillMs = 2_000;
const awayText = 'limits hold by share: Redis cannot be reached';

/** `shown`: what to look at now and then, with amounts of 0. */
export function createCounts(
  redis: Redis,
  shown: () => readonly Share[],
  instance: string,
  ledger: Ledger,
  reservations: Reservations,
  logger: Logger,
  metrics: Metrics,
): Counts {
  const shared = createSharedCounts(redis, instance, ledger, reservations, () => pending.flush());
  // Redis' clock is everyone's; between two looks at it, and without it, time goes on evenly.
  const known = { instances: 1, offsetMs: Date.now() - performance.now(), isAway: false, bornMs: 0 };
  const others = createOthers(() => known.instances);
  const local = createLocalCounts(() => known.instances);
  const leases = createLeases();
  const left = createShowLeft(metrics);
  const nowMs = () => Math.round(performance.now() + known.offsetMs);

  const setAway = (isAway: boolean) => {
    known.isAway = isAway;
    metrics.llmLimitsLocal.set(isAway ? 1 : 0);
  };
  setAway(false);
  const leave = (error: unknown, askedMs: number) => {
    if (performance.now() - askedMs > stillMs) return;
    if (!known.isAway) logger.warn({ reason: messageOf(error), instances: known.instances }, awayText);
    setAway(true);
    leases.drop();
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
    setAway(false);
    local.forget();
    logger.info('limits are shared again: Redis is back');
    pending.flushSoon();
  };
  const look = async () => {
    await lookAround({ shared, reservations, others, known, comeBack });
    // Calls of other instances, and time, change what is left.
    await takeShared(shown(), 1);
  };
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
    correct(correction) {
      pending.add(correction);
      if (known.isAway) local.correct(correction);
      else pending.flushSoon();
    },
    flush: () => (known.isAway ? undefined : pending.flushNow()),
    state: () => (known.isAway ? 'local' : 'shared'),
    held: (id, sum) => others.held(id, sum, reservations.held(id) + pending.givenBack(id)),
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
