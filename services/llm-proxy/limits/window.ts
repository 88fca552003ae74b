import type { Rule } from './rule.ts';

const bucketsWanted = 60;
/** From the leave to the provider a call takes a moment, by which it may come closer to those after it. */
const wayMs = 250;
/** How long a permit that was taken beforehand may lie here. */
export const leaseMs = 100;
const dayMs = 86_400_000;

/**
 * How a rule's count is split: a window is a sum over buckets of `bucketMs`, of which all count that reach into the last `heldMs`,
 * so the sum is at no time less than what the window really holds.
 */
export type Split = { bucketMs: number; heldMs: number };

export function splitOf(windowMs: number): Split {
  return {
    bucketMs: Math.max(1, Math.ceil(windowMs / bucketsWanted)),
    heldMs: Math.ceil(windowMs + slackOf(windowMs)),
  };
}

const slackOf = (windowMs: number) => Math.min(wayMs + leaseMs, windowMs / 4);

/** How long after it was asked for leave still counts where it was counted; of a period always. */
export const usableMsOf = (rule: Rule): number =>
  rule.kind === 'usd' ? Number.POSITIVE_INFINITY : slackOf(rule.windowMs);

/** Where something is counted that happens at `nowMs`: a bucket of the window, or the period's first millisecond. */
export const placeOf = (rule: Rule, nowMs: number): number =>
  rule.kind === 'usd' ? periodOf(rule.per, nowMs).fromMs : Math.floor(nowMs / splitOf(rule.windowMs).bucketMs);

/** The calendar period, in UTC, and where it ends. */
export function periodOf(per: 'day' | 'month', nowMs: number): { fromMs: number; toMs: number } {
  const now = new Date(nowMs);
  const [year, month] = [now.getUTCFullYear(), now.getUTCMonth()];
  if (per === 'month') return { fromMs: Date.UTC(year, month), toMs: Date.UTC(year, month + 1) };
  const fromMs = Date.UTC(year, month, now.getUTCDate());
  return { fromMs, toMs: fromMs + dayMs };
}
