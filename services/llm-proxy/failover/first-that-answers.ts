import { setTimeout as delay } from 'node:timers/promises';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, isTransient } from '#shared/errors.ts';
import type { Target } from '../models/target.ts';
import type { Attempt, Progress } from './attempt.ts';
import { noProgress, tryOnce } from './attempt.ts';
import type { Breakers } from './breakers.ts';
import type { Failed } from './verdict.ts';
import { judge, summarize } from './verdict.ts';

/** Hears how far an attempt came; `failure`: it ended in one. */
export type Ending = (progress: Progress, failure?: unknown) => void;

export type FailoverOptions = {
  /** When all must have ended, by `performance.now()`; a stream that has begun to come may go on. */
  deadlineMs: number;
  /** How often the call is tried again at most, all endpoints together. */
  retriesMax: number;
  /** Of these, how many whoever asks has used up with tries of its own. */
  retriesMade?: number;
  /** Whether whoever asks leaves all trying and waiting to us; false: it has retries of its own. */
  isPatient?: boolean;
  /** Aborted by who asks: ends all at once. */
  signal: AbortSignal;
  breakers: Breakers;
  /** A name of the request, the same when it comes again: what fails everywhere with one request speaks against that. */
  request?(): string;
  /** Why a target cannot answer such a call, whoever were to try; undefined: it can. It is left out then. */
  cannot?(target: Target): Failure | undefined;
  /**
   * Asks for leave before each attempt; `more`: there is another target to go on to. Answers what is to be called when the attempt
   * has ended. Throws a Failure where there is no leave.
   */
  admit?(target: Target, more: boolean): Promise<Ending>;
  onRetry?(target: Target, reason: FailureCode): void;
  onFallback?(from: Target, to: Target): void;
  /** In [0, 1). */
  random?(): number;
};

/** What was tried of one call, over all its targets. */
type Tries = { retries: number };

/**
 * Tries targets in order until one answers: each again where that may help, the next where it does not, and none twice within its
 * Retry-After. Throws the failure that says most, the caller's own reason when it called off, or `timeout` at the deadline.
 */
export async function firstThatAnswers<T>(
  targets: readonly Target[],
  attempt: Attempt<T>,
  options: FailoverOptions,
): Promise<T> {
  const failures: Failed[] = [];
  const tries = { retries: options.retriesMade ?? 0 };
  let before: Target | undefined;
  for (const [index, target] of targets.entries()) {
    const at = `${target.endpoint.name}/${target.model}`;
    const unable = options.cannot?.(target);
    if (unable) {
      failures.push({ failure: unable, at, refused: true, unable: true });
      continue;
    }
    if (before) options.onFallback?.(before, target);
    const ended = await tryTarget(target, attempt, options, tries, index + 1 < targets.length);
    if ('result' in ended) return ended.result;
    failures.push({ ...ended, at });
    if ((ended.isLast && !isRefusedByFallback(failures)) || performance.now() >= options.deadlineMs) break;
    before = target;
  }
  throw summarize(failures, { isPatient: options.isPatient ?? true, retriesMax: options.retriesMax });
}

/** What one who stands in says of the request says nothing of the one that was meant, who only could not be had. */
const isRefusedByFallback = (failures: readonly Failed[]) =>
  !isTransient(failures.at(-1)?.failure) && failures.some(({ failure, refused }) => !refused && isTransient(failure));

/** `isLast`: no other target would change it. */
type Ended<T> = { result: T } | { failure: Failure; refused: boolean; began?: boolean; isLast?: boolean };

/** Tries one target until it answers or there is no more sense in it: for its breaker that is one call. */
async function tryTarget<T>(
  target: Target,
  attempt: Attempt<T>,
  options: FailoverOptions,
  tries: Tries,
  more: boolean,
): Promise<Ended<T>> {
  const { signal, breakers, request } = options;
  const breaker = breakers.of(target.endpoint.name);
  const refusal = breaker.refusal();
  if (refusal) return { failure: refusal, refused: true };
  const pass = breaker.enter();
  const own = { ...tries, mayGoOn: pass.mayGoOn, isSent: false };
  try {
    const ended = await tryRepeatedly(target, attempt, options, own, more);
    if ('result' in ended) pass.succeed();
    else if (!ended.refused) pass.fail(ended.failure, request);
    return ended;
  } catch (error) {
    // A call that was called off tells nothing of the endpoint, nor does one that its client was slow to take.
    if (!signal.aborted && !own.isSent) pass.fail(error, request);
    throw error;
  } finally {
    tries.retries = own.retries;
    pass.end();
  }
}

const noTime = () => ({ failure: new Failure('timeout', 'there is no time left to ask a model'), refused: false });

type OwnTries = Tries & {
  mayGoOn(): boolean;
  /** Whether the caller has got something. */
  isSent: boolean;
};

/** Throws what must be told as it is. */
async function tryRepeatedly<T>(
  target: Target,
  attempt: Attempt<T>,
  options: FailoverOptions,
  tries: OwnTries,
  more: boolean,
): Promise<Ended<T>> {
  const { deadlineMs, retriesMax, isPatient = true, signal, random = Math.random } = options;
  let last: { failure: Failure; refused: boolean; began: boolean } | undefined;
  for (;;) {
    signal.throwIfAborted();
    if (performance.now() >= deadlineMs) return last ?? noTime();
    if (last && !tries.mayGoOn()) return last;
    let end: Ending | undefined;
    try {
      end = await options.admit?.(target, more);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Failure) || error.code === 'stale') throw error;
      return last ?? { failure: error, refused: true };
    }
    const progress = noProgress();
    // To wait for leave took what was left: what is asked now could not be answered in time, and may cost all the same.
    if (performance.now() >= deadlineMs) {
      end?.(progress);
      return last ?? noTime();
    }
    try {
      const result = await tryOnce(target, attempt, options, progress);
      end?.(progress);
      return { result };
    } catch (error) {
      end?.(progress, error);
      signal.throwIfAborted();
      tries.isSent = progress.sent;
      if (progress.sent || !(error instanceof Failure)) throw error;
      last = { failure: error, refused: false, began: progress.began };
      const leftMs = deadlineMs - performance.now();
      const circumstances = { retries: tries.retries, retriesMax, isPatient, began: progress.began, more, leftMs };
      const verdict = judge(error, { ...circumstances, random: random() });
      if (verdict.step === 'stop') return { ...last, isLast: true };
      if (verdict.step === 'next') return last;
      tries.retries++;
      options.onRetry?.(target, error.code);
      await wait(verdict.afterMs, signal);
    }
  }
}

/** Throws the signal's own reason when it ends the wait. */
async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    signal.throwIfAborted();
  }
}
