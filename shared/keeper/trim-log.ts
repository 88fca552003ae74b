import { youngMs } from '#shared/bus/ends.ts';
import type { Trimmable } from '#shared/bus/trim.ts';

/** What the log may hold, by age in milliseconds and by size; 0: as much as comes. */
export type Bounds = { maxAgeMs: number; maxBytes: number };

/** As many of the last events stay in any case: by them a store tells whether log and archive belong together. */
const keptMin = 100;

type Limits = {
  /** The last event that every archive holds. */
  archivedTo: number;
  nowMs: number;
  /** Whether an archive answers with what the log has at a sequence: it is asked about the last event that is to leave. */
  isArchived?: (seq: number) => Promise<boolean>;
  youngMs?: number;
  keptMin?: number;
};

/** Takes away what is older or more than the bounds say and is in every archive; answers how many events that were. */
export async function trimLog(log: Trimmable, bounds: Bounds, limits: Limits): Promise<number> {
  const { first, last, messages, bytes } = await log.sight();
  const { archivedTo, nowMs, youngMs: young = youngMs, keptMin: kept = keptMin } = limits;
  const byAge =
    bounds.maxAgeMs > 0 ? await firstSince(log, first, last, nowMs - Math.max(bounds.maxAgeMs, young)) : first;
  // Events differ in size: where this is not enough the next round goes on.
  const share = bounds.maxBytes > 0 ? Math.max(0, 1 - bounds.maxBytes / Math.max(1, bytes)) : 0;
  const bySize = first + Math.ceil(messages * share);
  const wanted = Math.min(Math.max(byAge, bySize), archivedTo + 1, last - kept + 1);
  if (wanted <= first) return 0;
  const next = bySize > byAge ? Math.min(wanted, await firstSince(log, first, wanted, nowMs - young)) : wanted;
  if (next <= first || !((await limits.isArchived?.(next - 1)) ?? true)) return 0;
  await log.purgeBefore(next);
  return next - first;
}

/** The sequence of the first event between these that came at `timeMs` or later; `last + 1` where none did. */
async function firstSince(log: Trimmable, first: number, last: number, timeMs: number): Promise<number> {
  let [low, high] = [first, last + 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const atMs = await log.timeAt(middle);
    if (atMs === undefined || atMs >= timeMs) high = middle;
    else low = middle + 1;
  }
  return low;
}
