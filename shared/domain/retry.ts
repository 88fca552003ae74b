import type { RunDraft, RunError } from '#shared/contracts/events.ts';
import type { Run } from './run.ts';

/** How often and how far apart a run is tried again. */
export type RetryPolicy = { retriesMax: number; backoffMs: number; backoffMsMax: number };

/**
 * The end of an attempt that failed for a passing reason: a later retry, or the run's failure once its retries are used up.
 * Exponential backoff with full jitter; `retryAfterMs` is a floor that the other side asked for; `random` is in [0, 1).
 */
export function retryOrFail(
  run: Run,
  error: RunError,
  policy: RetryPolicy,
  { nowMs, random, retryAfterMs = 0 }: { nowMs: number; random: number; retryAfterMs?: number | undefined },
): RunDraft {
  if (run.retries >= policy.retriesMax) {
    return {
      type: 'toka.run.failed.v1',
      data: { code: error.code, message: `${error.message} (tried ${run.retries + 1} times)` },
    };
  }
  const ceiling = Math.min(policy.backoffMsMax, policy.backoffMs * 2 ** run.retries);
  const delayMs = Math.max(retryAfterMs, Math.round(ceiling / 2 + (ceiling / 2) * random));
  return { type: 'toka.run.retry-scheduled.v1', data: { ...error, at: new Date(nowMs + delayMs).toISOString() } };
}
