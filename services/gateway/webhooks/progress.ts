import { Progress } from '#shared/contracts/webhook.ts';
import type { Webhook } from '#shared/domain/webhook.ts';

export const delivered = (seq: number): Progress => ({ seq, failures: 0, failingSince: null, lastFailure: null });

/** Where a webhook goes on: from what was kept of it, if that is no older than its own beginning. */
export function goOnFrom(kept: unknown, { after, activeAt }: Pick<Webhook, 'after' | 'activeAt'>): Progress {
  const { data } = Progress.safeParse(kept);
  if (!data || data.seq < after) return delivered(after);
  // What failed before it was enabled again is forgiven.
  return data.failingSince !== null && data.failingSince < activeAt ? delivered(data.seq) : data;
}

export const failed = (progress: Progress, reason: string, nowMs: number): Progress => ({
  seq: progress.seq,
  failures: progress.failures + 1,
  failingSince: progress.failingSince ?? new Date(nowMs).toISOString(),
  lastFailure: reason,
});

export type Patience = {
  backoffMs: number;
  backoffMsMax: number;
  /** It is given up once it has failed so often and for so long. */
  failuresMax: number;
  failingMsMax: number;
};

export const isGivenUp = ({ failures, failingSince }: Progress, patience: Patience, nowMs: number): boolean =>
  failures >= patience.failuresMax &&
  failingSince !== null &&
  nowMs - Date.parse(failingSince) >= patience.failingMsMax;

/** Exponential backoff with jitter; `retryAfterMs` is a floor that the receiver asked for; `random` is in [0, 1). */
export function waitMsAfter(
  { failures }: Pick<Progress, 'failures'>,
  { backoffMs, backoffMsMax }: Patience,
  { random, retryAfterMs = 0 }: { random: number; retryAfterMs?: number | undefined },
): number {
  const ceiling = Math.min(backoffMsMax, backoffMs * 2 ** Math.max(0, failures - 1));
  return Math.max(retryAfterMs, Math.round(ceiling / 2 + (ceiling / 2) * random));
}
