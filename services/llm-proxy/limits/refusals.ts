import { Failure } from '#shared/errors.ts';
import type { Asking, Share } from './counters.ts';
import { nameOf, wordsFor } from './counters.ts';
import type { Counts } from './counts.ts';
import { keepLimitHeaders } from './limit-headers.ts';
import type { Tried } from './queue.ts';
import type { Taking } from './shared-counts.ts';

/** After which what others give back is looked for again. */
export const lookAgainMs = 1_000;

/** An endpoint's model, as rules and refusals name it. */
export const placeOf = ({ endpoint, model }: Pick<Asking, 'endpoint' | 'model'>) => `${endpoint}/${model}`;

/** The provider wants to be left alone. */
export function leftAlone(asking: Asking, heldMs: number): Tried<never> {
  const text = `${placeOf(asking)} has said that its own limit is reached`;
  const refusal = new Failure('limited', text, { retryAfterMs: whole(heldMs) });
  return { blockedBy: placeOf(asking), waitMs: heldMs, refusal };
}

/** What a count has in the way of a call: it is used up, or calls under way, which hold some of it, give enough of it back. */
export function refusedBy(blocked: Share, taking: Taking, at: number, heldOf: Counts['held']): Tried<never> {
  const { counter, amount, limit } = blocked;
  const sum = taking.sums[at] ?? 0;
  const held = counter.rule.kind === 'requests' ? 0 : heldOf(counter.id, sum);
  const isHeld = held === undefined || (held > 0 && sum - held + amount <= limit);
  const refusal = isHeld ? isTaken(blocked) : isReached(blocked, taking);
  keepLimitHeaders(refusal, blocked, isHeld ? { ...taking, waitMs: lookAgainMs } : taking, at);
  // What others give back of their estimates, only Redis hears of.
  const isFixed = counter.rule.kind === 'requests';
  const waitMs = isFixed ? taking.waitMs : Math.min(taking.waitMs, lookAgainMs);
  return { blockedBy: counter.id, waitMs, refusal, isHeld };
}

function isTaken({ counter, amount }: Share): Failure {
  const text = `calls under way hold what is left of ${nameOf(counter)}, of which this call may take ${wordsFor(counter.rule, amount)}; what they do not use is free when they end`;
  return new Failure('limited', text, { retryAfterMs: lookAgainMs });
}

/** Windows move on by themselves; a budget that is spent is so until its day or month is over. */
function isReached({ counter }: Share, { waitMs }: Taking): Failure {
  const retryAfterMs = whole(waitMs);
  return counter.rule.kind === 'usd'
    ? new Failure('spent', `${nameOf(counter)} is spent`, { retryAfterMs, shouldRetry: false })
    : new Failure('limited', `${nameOf(counter)} is reached`, { retryAfterMs });
}

const whole = (ms: number) => Math.max(1, Math.ceil(ms));
