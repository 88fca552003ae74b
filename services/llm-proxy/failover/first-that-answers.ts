import { setTimeout as delay } from 'node:timers/promises';
import type { FailureCode } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import type { Target } from '../models/target.ts';
import type { Attempt, Progress } from './attempt.ts';
import { noProgress, tryOnce } from './attempt.ts';
import type { Breakers } from './breakers.ts';
import type { Failed } from './verdict.ts';
import { judge, summarize } from './verdict.ts';

/** Hears how far an attempt came; `failure`: it ended in one. */
export type Ending = (progress: Progress, failure?: unknown) => void;

export type FailoverOptions = {
  /** When all must have ended, by `performance.now()`. */
  deadlineMs: number;
  /** How often each target is tried again at most. */
  retriesMax: number;
  /** Aborted by who asks: ends all at once. */
  signal: AbortSignal;
  breakers: Breakers;
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
  for (const [index, target] of targets.entries()) {
    const following = targets[index + 1];
    const ended = await tryTarget(target, attempt, options, following !== undefined);
    if ('result' in ended) return ended.result;
    failures.push({ ...ended, at: `${target.endpoint.name}/${target.model}` });
    if (performance.now() >= options.deadlineMs) break;
    if (following) options.onFallback?.(target, following);
  }
  throw summarize(failures);
}

type Ended<T> = { result: T } | { failure: Failure; refused: boolean };

/** Tries one target until it answers or there is no more sense in it. Throws what no other target would change. */
async function tryTarget<T>(
  target: Target,
  attempt: Attempt<T>,
  options: FailoverOptions,
  more: boolean,
): Promise<Ended<T>> {
  const { deadlineMs, retriesMax, signal, breakers, random = Math.random } = options;
  const breaker = breakers.of(target.endpoint.name);
  let last: Failure | undefined;
  for (let retries = 0; ; retries++) {
    signal.throwIfAborted();
    if (performance.now() >= deadlineMs)
      return { failure: last ?? new Failure('timeout', 'there is no time left to ask a model'), refused: false };
    const refused = breaker.refusal();
    if (refused) return { failure: last ?? refused, refused: last === undefined };
    let end: Ending | undefined;
    try {
      end = await options.admit?.(target, more);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Failure) || error.code === 'stale') throw error;
      return { failure: last ?? error, refused: last === undefined && more };
    }
    const progress = noProgress();
    try {
      const result = await breaker.run(
        () => tryOnce(target, attempt, options, progress),
        signal,
        () => progress.sent,
      );
      end?.(progress);
      return { result };
    } catch (error) {
      end?.(progress, error);
      signal.throwIfAborted();
      if (progress.sent || !(error instanceof Failure)) throw error;
      const leftMs = deadlineMs - performance.now();
      const circumstances = { retries, retriesMax, began: progress.began, more, leftMs, random: random() };
      const verdict = judge(error, circumstances);
      if (verdict.step === 'stop') throw error;
      if (verdict.step === 'next') return { failure: error, refused: false };
      options.onRetry?.(target, error.code);
      await wait(verdict.afterMs, signal);
      last = error;
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
