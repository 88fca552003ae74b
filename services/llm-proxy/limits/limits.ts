import type { Redis } from 'ioredis';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Asking, Share } from './counters.ts';
import { amountOf, createShareFinder, nameOf } from './counters.ts';
import type { Change } from './counts.ts';
import { createCounts } from './counts.ts';
import type { AnswerHeaders } from './holds.ts';
import { createHolds } from './holds.ts';
import type { Ledger } from './ledger.ts';
import { keepLimitHeaders } from './limit-headers.ts';
import { createPlaces } from './places.ts';
import type { Tried } from './queue.ts';
import { createQueue } from './queue.ts';
import type { Rule } from './rule.ts';
import type { Taking } from './shared-counts.ts';
import { usableMsOf } from './window.ts';

/** What a call took; `usd` is null where that is not known: then the estimate stands. */
export type Used = { tokens: number; usd: number | null };

/** Leave for one call to one endpoint. */
export type Grant = {
  /** Too much time has passed since it was counted: used now, it could come closer to later ones than a window allows. */
  isLate(): boolean;
  /** The call has ended; undefined: it did not reach its endpoint. Counts once. */
  settle(used: Used | undefined): void;
};

export type Limits = {
  /**
   * Leave for a call, all of it counted beforehand. With `waitMs` it waits for its turn; without, it throws `limited` at once, or
   * `unavailable` where there is no room. Throws `too-large` or `invalid` where it can never be.
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
  /** Calls that are made at a time, and the share of them that client keys never get. */
  activeMax: number;
  agentsShare: number;
};

const room = 'room';
const lookAgainMs = 1_000;

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
  const counts = createCounts(redis, shown, instance, ledger, logger, metrics);
  const holds = createHolds(redis);
  const queue = createQueue<Grant>(queueMax, (depth) => metrics.llmQueueDepth.set(depth));
  const places = createPlaces({ max: activeMax, agents: Math.floor(activeMax * agentsShare) }, metrics);

  const grantOf = (shares: readonly Share[], taking: Taking, leave: () => void): Grant => {
    let isOpen = true;
    return {
      isLate: () => isTooOld(shares, taking),
      settle(used) {
        if (!isOpen) return;
        isOpen = false;
        leave();
        const changes = changesOf(shares, taking, used);
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
    if (heldMs > 0) return { blockedBy: placeOf(asking), waitMs: heldMs, refusal: isHeld(asking, heldMs) };
    const leave = places.take(client);
    const taking = await counts.take(shares);
    const { blocked } = taking;
    if (!blocked) return { got: grantOf(shares, taking, leave) };
    leave();
    const refusal = isReached(blocked, taking);
    keepLimitHeaders(refusal, blocked, taking, shares.indexOf(blocked));
    // What others give back of their estimates, only Redis hears of.
    const isFixed = blocked.counter.rule.kind === 'requests';
    const waitMs = isFixed ? taking.waitMs : Math.min(taking.waitMs, lookAgainMs);
    return { blockedBy: blocked.counter.id, waitMs, refusal };
  };
  const waitFor = async (asking: Asking, shares: readonly Share[], waitMs: number, signal: AbortSignal) => {
    const beganMs = performance.now();
    const needs = [room, placeOf(asking), ...shares.map(({ counter }) => counter.id)];
    const turn = asking.agent ?? asking.key;
    const trying = { try: () => attempt(asking, shares), release: giveBack };
    try {
      return await queue.join({ priority: asking.priority, turn, needs, ...trying }, waitMs, signal);
    } finally {
      metrics.llmQueueSeconds.observe((performance.now() - beganMs) / 1_000);
    }
  };
  return {
    async reserve(asking, waitMs, signal) {
      signal.throwIfAborted();
      const shares = sharesFor(asking);
      try {
        return await (waitMs > 0 ? waitFor(asking, shares, waitMs, signal) : gotBy(await attempt(asking, shares)));
      } catch (error) {
        if (error instanceof Failure && error.code === 'limited') metrics.llmRateLimited.inc();
        // Where there was no leave, there was room taken for a moment.
        queue.free(room);
        throw error;
      }
    },
    observe: (endpoint, model, status, headers) => holds.observe(placeOf({ endpoint, model }), status, headers),
    state: counts.state,
    [Symbol.dispose]() {
      holds[Symbol.dispose]();
      counts[Symbol.dispose]();
    },
  };
}

const isTooOld = (shares: readonly Share[], { askedMs }: Taking) =>
  performance.now() - askedMs > Math.min(...shares.map(({ counter }) => usableMsOf(counter.rule)));

function gotBy(tried: Tried<Grant>): Grant {
  if ('got' in tried) return tried.got;
  throw tried.refusal;
}

const giveBack = (grant: Grant) => grant.settle(undefined);

/** The limits of an endpoint by itself, whoever asks for whatever there. */
const toLookAt = (sharesFor: (asking: Asking) => readonly Share[], endpoint: string): Share[] =>
  sharesFor({ endpoint, model: '', key: '', priority: 'low', estimate: { tokens: 0, usd: 0 } })
    .filter(({ counter }) => counter.rule.by === 'endpoint')
    .map((share) => ({ ...share, amount: 0 }));

const placeOf = ({ endpoint, model }: Pick<Asking, 'endpoint' | 'model'>) => `${endpoint}/${model}`;

const changesOf = (shares: readonly Share[], taking: Taking, used: Used | undefined): Change[] =>
  shares.map(({ counter, amount: counted }, at) => {
    const amount = changeOf(counter.rule, counted, used);
    return { counter, amount, whole: counted + amount, taking, at };
  });

/** Of budgets all is told: whether Redis still has what was counted is seen there. */
const isNews = ({ amount, counter }: Change) => amount !== 0 || counter.rule.kind === 'usd';

/** By how much what a call took differs from what was counted beforehand. */
function changeOf(rule: Rule, counted: number, used: Used | undefined): number {
  if (!used) return -counted;
  if (rule.kind === 'usd' && used.usd === null) return 0;
  return amountOf(rule, used) - counted;
}

const isHeld = (asking: Asking, heldMs: number) =>
  new Failure('limited', `${placeOf(asking)} has said that its own limit is reached`, { retryAfterMs: whole(heldMs) });

const isReached = ({ counter }: Share, { waitMs }: Taking) =>
  new Failure('limited', `${nameOf(counter)} is reached`, { retryAfterMs: whole(waitMs) });

const whole = (ms: number) => Math.max(1, Math.ceil(ms));
