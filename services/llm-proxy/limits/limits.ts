import type { Redis } from 'ioredis';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Used } from './changes.ts';
import { isNews, openGrant } from './changes.ts';
import type { Asking, Share } from './counters.ts';
import { createShareFinder } from './counters.ts';
import { createCounts } from './counts.ts';
import type { AnswerHeaders } from './holds.ts';
import { createHolds } from './holds.ts';
import type { Ledger } from './ledger.ts';
import { createPlaces } from './places.ts';
import type { Tried, Waiter } from './queue.ts';
import { createQueue } from './queue.ts';
import { leftAlone, lookAgainMs, placeOf, refusedBy } from './refusals.ts';
import { createReservations } from './reservations.ts';
import type { Rule } from './rule.ts';
import type { Taking } from './shared-counts.ts';
import { usableMsOf } from './window.ts';

/** Leave for one call to one endpoint. */
export type Grant = {
  /** Too much time has passed since it was counted: used now, it could come closer to later ones than a window allows. */
  isLate(): boolean;
  /** The call has ended; undefined: it did not reach its endpoint. Counts once. */
  settle(used: Used | undefined): void;
};

export type Limits = {
  /**
   * Leave for a call, all of it counted beforehand. With `waitMs` it waits for its turn, a client's only where calls under way hold what it
   * needs; without, it throws `limited` or `spent` at once, or `unavailable` where there is no room. Throws `too-large` or `invalid` where it
   * can never be.
   */
  reserve(asking: Asking, waitMs: number, signal: AbortSignal): Promise<Grant>;
  /** Takes notice of what an endpoint says of its own limits for a model. */
  observe(endpoint: string, model: string, status: number, headers: AnswerHeaders): void;
  /** `local`: Redis is away, and each limit holds by this instance's share. */
  state(): 'shared' | 'local';
  [Symbol.dispose](): void;
};

type Options = {
  instance: string;
  /** Those whose limits are shown before they are asked. */
  endpoints: () => readonly string[];
  ledger: Ledger;
  /** Calls that wait. */
  queueMax: number;
  /** Calls that are made at a time, and the share of them, and of those that wait, that client keys never get. */
  activeMax: number;
  agentsShare: number;
};

const room = 'room';

/** Bounds calls by rules, which all instances share, by what providers say, and by this instance's room. */
export function createLimits(
  redis: Redis,
  rules: () => readonly Rule[],
  { instance, endpoints, ledger, queueMax, activeMax, agentsShare }: Options,
  logger: Logger,
  metrics: Metrics,
): Limits {
  const sharesFor = createShareFinder(rules);
  const shown = () => endpoints().flatMap((endpoint) => toLookAt(sharesFor, endpoint));
  const reservations = createReservations();
  const counts = createCounts(redis, shown, instance, ledger, reservations, logger, metrics);
  const holds = createHolds(redis);
  const queue = createQueue<Grant>(shareOf(queueMax, agentsShare), (depth) => metrics.llmQueueDepth.set(depth));
  const places = createPlaces(shareOf(activeMax, agentsShare), metrics);

  const grantOf = ({ recorded }: Asking, shares: readonly Share[], taking: Taking, leave: () => void): Grant => {
    const close = openGrant(shares, taking, recorded, reservations);
    return {
      isLate: () => isTooOld(shares, taking),
      settle(used) {
        const changes = close(used);
        if (!changes) return;
        leave();
        changes.filter(isNews).forEach(counts.correct);
        const given = changes.filter(({ amount }) => amount < 0);
        if (given.length > 0 && queue.count() > 0) counts.flush();
        for (const need of [...given.map(({ counter }) => counter.id), room]) queue.free(need);
      },
    };
  };
  const attempt = async (asking: Asking, shares: readonly Share[]): Promise<Tried<Grant>> => {
    const client = asking.isClient ? asking.key : undefined;
    const full = places.refusal(client);
    if (full) return { blockedBy: room, waitMs: lookAgainMs, refusal: full };
    const heldMs = holds.until(placeOf(asking)) - Date.now();
    if (heldMs > 0) return leftAlone(asking, heldMs);
    const leave = places.take(client);
    const taking = await counts.take(shares);
    const { blocked } = taking;
    if (!blocked) return { got: grantOf(asking, shares, taking, leave) };
    leave();
    return refusedBy(blocked, taking, shares.indexOf(blocked), counts.held);
  };
  const waitFor = (asking: Asking, shares: readonly Share[], waitMs: number, signal: AbortSignal) => {
    const endTimer = metrics.llmQueueSeconds.startTimer();
    return queue
      .join(
        waiterFor(asking, shares, () => attempt(asking, shares)),
        waitMs,
        signal,
      )
      .finally(endTimer);
  };
  return {
    async reserve(asking, waitMs, signal) {
      signal.throwIfAborted();
      const shares = sharesFor(asking);
      try {
        if (waitMs > 0 && !asking.isClient) return await waitFor(asking, shares, waitMs, signal);
        const tried = await attempt(asking, shares);
        if ('got' in tried) return tried.got;
        if (waitMs > 0 && tried.isHeld) return await waitFor(asking, shares, waitMs, signal);
        throw tried.refusal;
      } catch (error) {
        if (error instanceof Failure && (error.code === 'limited' || error.code === 'spent'))
          metrics.llmRateLimited.inc();
        // Where there was no leave, there was room taken for a moment.
        queue.free(room);
        throw error;
      }
    },
    observe: (endpoint, model, ...answer) => holds.observe(placeOf({ endpoint, model }), ...answer),
    state: counts.state,
    [Symbol.dispose]() {
      for (const each of [holds, counts]) each[Symbol.dispose]();
    },
  };
}

/** So many places, and those of them that are kept for agents. */
const shareOf = (max: number, share: number) => ({ max, agents: Math.floor(max * share) });

const isTooOld = (shares: readonly Share[], { askedMs }: Taking) =>
  performance.now() - askedMs > Math.min(...shares.map(({ counter }) => usableMsOf(counter.rule)));

/** A client is told at once what will not be over in a moment. */
const waiterFor = (asking: Asking, shares: readonly Share[], attempt: () => Promise<Tried<Grant>>): Waiter<Grant> => ({
  priority: asking.priority,
  turn: asking.agent ?? asking.key,
  isClient: asking.isClient === true,
  needs: [room, placeOf(asking), ...shares.map(({ counter }) => counter.id)],
  setting: asking.isClient ? 'LLM_CLIENT_QUEUE_TIMEOUT' : 'LLM_QUEUE_TIMEOUT',
  async try() {
    const tried = await attempt();
    if (asking.isClient && !('got' in tried) && !tried.isHeld) throw tried.refusal;
    return tried;
  },
  release: (grant) => grant.settle(undefined),
});

/** The limits of an endpoint by itself, whoever asks for whatever there. */
const toLookAt = (sharesFor: (asking: Asking) => readonly Share[], endpoint: string): Share[] =>
  sharesFor({ endpoint, model: '', key: '', priority: 'low', estimate: { tokens: 0, usd: 0 } })
    .filter(({ counter }) => counter.rule.by === 'endpoint')
    .map((share) => ({ ...share, amount: 0 }));
