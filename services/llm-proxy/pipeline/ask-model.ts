import { hash } from 'node:crypto';
import type { Attempt, Progress } from '../failover/attempt.ts';
import type { Breakers } from '../failover/breakers.ts';
import type { FailoverOptions } from '../failover/first-that-answers.ts';
import { firstThatAnswers } from '../failover/first-that-answers.ts';
import { mayHaveCost } from '../failover/verdict.ts';
import type { Used } from '../limits/changes.ts';
import type { Asking } from '../limits/counters.ts';
import type { Grant, Limits } from '../limits/limits.ts';
import type { Target } from '../models/target.ts';
import type { PriceTerms } from '../wires/price-terms.ts';

/** What all questions share. */
export type Asker = Pick<FailoverOptions, 'onRetry' | 'onFallback' | 'retriesMax'> & {
  limits: Limits;
  breakers: Breakers;
  onFirst(target: Target, ms: number): void;
  /** Until an answer is there whole or has begun to stream, retries and fallbacks included; the wait for a limit comes on top. */
  timeoutMs: number;
};

export type Question = Pick<FailoverOptions, 'cannot' | 'request' | 'retriesMade' | 'isPatient'> & {
  /** Not empty. */
  targets: readonly Target[];
  /** Who asks, for limits. */
  who: Omit<Asking, 'endpoint' | 'model' | 'estimate' | 'recorded'>;
  /** How many tokens a call to this target may take at most, and on which terms. */
  size(target: Target): { inputTokens: number; outputTokens: number; terms?: PriceTerms };
  /** How long to wait for a limit, once there is no other target to go on to. */
  waitMs: number;
  /** Settles once the call is in the ledger. Undefined: at once. */
  recorded?: Promise<unknown>;
  /** Called before each attempt, as late as can be. Throws what ends the call. */
  check?: () => Promise<void>;
  signal: AbortSignal;
};

/**
 * Asks the targets in order until one answers: limits, breaker, retries, fallbacks. Each attempt must tell its marks when it asks and
 * what it took. Throws a Failure.
 */
export function askModel<T>(asker: Asker, question: Question, attempt: Attempt<T>): Promise<T> {
  const { limits, timeoutMs, onFirst, ...failover } = asker;
  const { targets, who, size, waitMs, recorded, check, ...given } = question;
  const { signal } = given;
  return firstThatAnswers(targets, attempt, {
    ...failover,
    ...given,
    deadlineMs: performance.now() + timeoutMs + waitMs,
    async admit(target, more) {
      const { inputTokens, outputTokens, terms } = size(target);
      const estimate = {
        tokens: inputTokens + outputTokens,
        usd: target.estimateCost(inputTokens, outputTokens, terms),
      };
      const asking = { ...who, endpoint: target.endpoint.name, model: target.id, estimate, recorded };
      const grant = await usableGrant(() => limits.reserve(asking, more ? 0 : waitMs, signal), check);
      return (progress, failure) => {
        if (progress.firstMs !== undefined) onFirst(target, progress.firstMs);
        const isFree = failure !== undefined && !signal.aborted && !progress.said && !mayHaveCost(failure);
        grant.settle(isFree && progress.reached ? nothing : usedBy(target, progress, estimate.tokens));
      };
    },
  });
}

const attemptsMax = 5;
const sureMs = 500;

/**
 * Leave for a call that can be used at once, with a check that was made a moment ago. This process may have been stopped between them, or the
 * log slow to answer: leave that has become old is given back and asked for again. Where all is slow, the last counts.
 */
async function usableGrant(reserve: () => Promise<Grant>, check: (() => Promise<void>) | undefined): Promise<Grant> {
  let checkedMs = Number.NEGATIVE_INFINITY;
  for (let attempt = 1; ; attempt++) {
    const grant = await reserve();
    if (check && performance.now() - checkedMs > sureMs) {
      await check().catch((thrown: unknown) => {
        grant.settle(undefined);
        throw thrown;
      });
      checkedMs = performance.now();
    }
    if (!grant.isLate() || attempt === attemptsMax) return grant;
    grant.settle(undefined);
  }
}

/** The same for the same request of the same caller, and short. */
export const nameOfRequest = (caller: string, body: string | Buffer): string => `${caller} ${hash('sha256', body)}`;

const nothing: Used = { tokens: 0, usd: 0 };

/** What an attempt took of its limits; undefined: nothing, not even a request. */
function usedBy(target: Target, { reached, usage }: Progress, tokensMax: number): Used | undefined {
  if (!reached) return undefined;
  if (!usage) return { tokens: tokensMax, usd: null };
  return { tokens: usage.inputTokens + usage.outputTokens, usd: target.cost(usage) };
}
