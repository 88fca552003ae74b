import type { FailureCode } from '#shared/errors.ts';
import { Failure, isTransient } from '#shared/errors.ts';

const backoffMs = 250;
const backoffMsMax = 8_000;
/** A longer wait at one endpoint is not worth it while another has not been asked. */
const patienceMs = 2_000;

export type Circumstances = {
  /** How often this call was tried again already, wherever, and how often it may be. */
  retries: number;
  retriesMax: number;
  /** Whether the caller leaves all trying to us, waits included. */
  isPatient: boolean;
  /** Whether its answer had begun. */
  began: boolean;
  /** Whether there is another target to go on to. */
  more: boolean;
  /** Until the call must end. */
  leftMs: number;
  /** In [0, 1). */
  random: number;
};

export type Verdict = { step: 'stop' } | { step: 'next' } | { step: 'again'; afterMs: number };

const stop = { step: 'stop' } as const;
const next = { step: 'next' } as const;
/** Another key, another account or another model may do where these say no. */
const movable: ReadonlySet<FailureCode> = new Set(['unauthorized', 'unpaid', 'not-found']);

/**
 * What to do after a failure of which the caller has seen nothing: try the same target again, go on to the next, or give up.
 * Retry-After is a floor: within it the same target is never asked.
 */
export function judge(failure: unknown, now: Circumstances): Verdict {
  if (!(failure instanceof Failure)) return stop;
  if (movable.has(failure.code)) return next;
  const mayRepeat = repeats(failure, now);
  if (mayRepeat === undefined) return stop;
  const floorMs = failure.retryAfterMs ?? 0;
  // A client that is told how long to wait does so by itself, or has reasons not to.
  if (!mayRepeat || now.retries >= now.retriesMax || (floorMs > 0 && !now.isPatient)) return next;
  const ceilingMs = Math.min(backoffMsMax, backoffMs * 2 ** now.retries);
  const afterMs = Math.round(floorMs > 0 ? floorMs + backoffMs * now.random : ceilingMs * now.random);
  if (afterMs >= now.leftMs) return next;
  return now.more && floorMs > patienceMs ? next : { step: 'again', afterMs };
}

/** Whether the same target may do at another try; undefined: nothing more may be tried at all. */
function repeats({ code, shouldRetry }: Failure, { retries, began, isPatient }: Circumstances): boolean | undefined {
  switch (code) {
    case 'unavailable':
      return shouldRetry !== false;
    case 'limited':
      // The libraries that clients use pace themselves, by what they are told: two who do so at once would multiply.
      return isPatient && shouldRetry !== false;
    case 'timeout':
      // What began and did not end in time was paid for, and took all there was.
      return began ? undefined : shouldRetry !== false;
    case 'upstream':
      // It may have been paid for. Whether that is worth it twice, a client decides itself.
      return isPatient && retries === 0 && shouldRetry !== false;
    default:
      return shouldRetry === true ? true : undefined;
  }
}

/** How a target failed: at which endpoint for which model, whether it was never asked, and whether it cannot answer such a call at all. */
export type Failed = { failure: Failure; at: string; refused: boolean; unable?: boolean; began?: boolean };

type Advice = Pick<Circumstances, 'isPatient' | 'retriesMax'>;

/**
 * The failure to tell of: that of the first who was asked, unless it will not pass and another's may; with whom was asked. What only
 * cannot carry the call is told where that is all there is. Says that nobody need ask again where that was done here already.
 */
export function summarize(failures: readonly Failed[], advice: Advice): Failure {
  const able = failures.filter(({ unable }) => !unable);
  const all = able.length > 0 ? able : failures.slice(0, 1);
  const [first] = all;
  if (!first) return new Failure('unavailable', 'there is nobody to ask');
  const asked = all.filter(({ refused }) => !refused);
  const most = asked.find(({ failure }) => isTransient(failure)) ?? asked[0] ?? first;
  const { failure } = most;
  const shouldRetry = asked.length > 0 ? shouldRetryAfter(most, advice) : failure.shouldRetry;
  if (all.length === 1 && shouldRetry === failure.shouldRetry) return failure;
  const waits = all.flatMap((each) => each.failure.retryAfterMs ?? []);
  const mayWait = failure.code === 'limited' || failure.code === 'unavailable' || failure.code === 'held-back';
  return new Failure(failure.code, all.length === 1 ? failure.message : `${failure.message} ${whomOf(all)}`, {
    cause: failure,
    problems: failure.problems,
    retryAfterMs: waits.length > 0 && mayWait ? Math.min(...waits) : failure.retryAfterMs,
    shouldRetry,
  });
}

const whomOf = (all: readonly Failed[]) => `(${all.length} targets were tried: ${all.map(({ at }) => at).join(', ')})`;

/**
 * What the caller is to make of it. Both SDKs obey `x-should-retry`, and else try again after 408, 409, 429 and all from 500 on (source:
 * `shouldRetry` in openai 7.57 and @anthropic-ai/sdk 1.12, read 2026-11-30).
 */
function shouldRetryAfter({ failure, began = false }: Failed, { isPatient, retriesMax }: Advice): boolean | undefined {
  const { code, shouldRetry, retryAfterMs } = failure;
  if (!isTransient(failure) || shouldRetry === false) return shouldRetry;
  if (!isPatient) {
    // It may have been paid for: nobody pays again without having been asked.
    if (code === 'upstream' || (code === 'timeout' && began)) return false;
    // Left to the client, who knows how long it has.
    if (code === 'limited' || retryAfterMs !== undefined) return shouldRetry;
  }
  return retriesMax > 0 ? false : shouldRetry;
}

/** A provider that answers with an error does not charge; one that was cut off, that is too slow, or that fails once it has said something, may. */
export const mayHaveCost = (failure: unknown, saidBytes = 0): boolean =>
  saidBytes > 0 || !(failure instanceof Failure) || failure.code === 'upstream' || failure.code === 'timeout';
