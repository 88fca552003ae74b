import type { Redis } from 'ioredis';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Counter, Share } from './counters.ts';
import { createLeases } from './leases.ts';
import { createLocalCounts } from './local-counts.ts';
import { createPending } from './pending.ts';
import type { Correction, Taking } from './shared-counts.ts';
import { createSharedCounts } from './shared-counts.ts';
import { createShowLeft } from './show-left.ts';
import { placeOf } from './window.ts';

/** All counts: in Redis, or here as long as it is away. */
export type Counts = {
  /** Takes all of it or nothing. Never throws. */
  take(shares: readonly Share[]): Promise<Taking>;
  /** Counts so much more or less, where it was taken at `nowMs`. */
  correct(counter: Counter, amount: number, nowMs: number): void;
  /** Tells Redis at once of what was corrected, before whatever is taken next. */
  flush(): void;
  state(): 'shared' | 'local';
  [Symbol.dispose](): void;
};

const lookMs = 1_000;

/** `shown`: what to look at now and then, with amounts of 0. */
export function createCounts(
  redis: Redis,
  shown: () => readonly Share[],
  instance: string,
  logger: Logger,
  metrics: Metrics,
): Counts {
  const shared = createSharedCounts(redis, instance);
  const known = { instances: 1, offsetMs: 0, isAway: false };
  const local = createLocalCounts(() => known.instances);
  const leases = createLeases();
  const left = createShowLeft(metrics);
  const nowMs = () => Date.now() + known.offsetMs;

  const leave = (error: unknown) => {
    const about = { reason: messageOf(error), instances: known.instances };
    if (!known.isAway) logger.warn(about, 'limits hold by share: Redis cannot be reached');
    known.isAway = true;
    leases.drop();
    metrics.llmLimitsLocal.set(1);
  };
  const pending = createPending((corrections) => shared.correct(corrections, nowMs()), leave);
  const takeShared = async (shares: readonly Share[], times: number) => {
    const taking = await shared.take(shares, times, nowMs());
    local.note(shares, taking);
    left.note(shares, taking);
    return taking;
  };
  const takeHere = (shares: readonly Share[]): Taking => {
    const taking = local.take(shares, nowMs());
    left.note(shares, taking);
    if (!taking.blocked) correctionsOf(shares, taking).forEach(pending.add);
    return taking;
  };
  const look = async () => {
    const said = await shared.announce();
    Object.assign(known, { instances: said.instances, offsetMs: said.nowMs - Date.now() });
    if (known.isAway) {
      await pending.flush();
      known.isAway = false;
      local.forget();
      metrics.llmLimitsLocal.set(0);
      logger.info('limits are shared again: Redis is back');
      pending.flushSoon();
    }
    // Calls of other instances, and time, change what is left.
    await takeShared(shown(), 1);
  };
  const looking = setInterval(() => look().catch(leave), lookMs).unref();
  metrics.llmLimitsLocal.set(0);
  left.note(shown(), { sums: [] });
  look().catch(leave);

  return {
    async take(shares) {
      if (known.isAway) return takeHere(shares);
      try {
        return await leases.take(shares, nowMs, (times) => takeShared(shares, times));
      } catch (error) {
        leave(error);
        return takeHere(shares);
      }
    },
    correct(counter, amount, atMs) {
      const correction = { counter, amount, place: placeOf(counter.rule, atMs) };
      pending.add(correction);
      if (known.isAway) local.correct(correction);
      else pending.flushSoon();
    },
    flush() {
      if (!known.isAway) pending.flush().catch(leave);
    },
    state: () => (known.isAway ? 'local' : 'shared'),
    [Symbol.dispose]() {
      clearInterval(looking);
      pending[Symbol.dispose]();
      if (!known.isAway) pending.flush().catch(() => undefined);
    },
  };
}

/** What Redis must hear of later. */
const correctionsOf = (shares: readonly Share[], { nowMs }: Taking): Correction[] =>
  shares.map(({ counter, amount }) => ({ counter, amount, place: placeOf(counter.rule, nowMs) }));
