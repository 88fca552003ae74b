import type { Retries } from '#shared/contracts/agent.ts';
import type { RunDraft, RunError } from '#shared/contracts/events.ts';
import type { Run } from './run.ts';

/**
 * What kinds of failure may pass, each with a count of its own. Any other (a bad definition, a limit, a loop) would only come again. `answer`:
 * the model's side answered, and may have been paid, but what came was of no use.
 */
export type RetryClass = keyof Retries | 'answer';

const classes: Readonly<Record<string, RetryClass>> = {
  upstream: 'answer',
  // The model's side, or a service on the way to it: overloaded, limited, away, too slow.
  limited: 'provider',
  spent: 'provider',
  unavailable: 'provider',
  'held-back': 'provider',
  timeout: 'provider',
  'disk-full': 'provider',
  // The sandbox was killed or has gone.
  sandbox: 'sandbox',
  // A tool, or the runner around it, failed in a way that nobody foresaw.
  internal: 'tool',
  'validation-failed': 'validation',
};

/** The class of an error's code; undefined: it is not tried again. */
export const retryClassOf = (code: string): RetryClass | undefined => classes[code];

/** How often, by class, and how far apart a run is tried again. */
export type RetryPolicy = { max: Readonly<Record<RetryClass, number>>; backoffMs: number; backoffMsMax: number };

const doublingsMax = 30;

/**
 * The end of an attempt that failed: a later retry, or the run's failure where its kind does not pass or its retries are used up.
 * Exponential backoff with jitter, from the last progress on; `retryAfterMs` is a floor that the other side asked for; `random` is in [0, 1).
 */
export function retryOrFail(
  run: Run,
  error: RunError,
  policy: RetryPolicy,
  { nowMs, random, retryAfterMs = 0 }: { nowMs: number; random: number; retryAfterMs?: number | undefined },
): RunDraft {
  const kind = retryClassOf(error.code);
  const before = (kind && run.retriesBy[kind]) ?? 0;
  if (!kind || before >= policy.max[kind]) {
    const message = before > 0 ? `${error.message} (tried ${before + 1} times)` : error.message;
    return { type: 'toka.run.failed.v1', data: { code: error.code, message } };
  }
  const ceiling = Math.min(policy.backoffMsMax, policy.backoffMs * 2 ** Math.min(run.putBacks, doublingsMax));
  const delayMs = Math.max(retryAfterMs, Math.round(ceiling / 2 + (ceiling / 2) * random));
  return { type: 'toka.run.retry-scheduled.v1', data: { ...error, at: new Date(nowMs + delayMs).toISOString() } };
}
