import type { Counter, Share } from './counters.ts';
import type { Correction, Taking } from './shared-counts.ts';
import { periodOf, placeOf, splitOf } from './window.ts';

/** What was last seen of a counter in Redis: how much, when, and among how many instances. */
type Seen = { sum: number; atMs: number };

/** The counts of this instance alone, for as long as Redis is away. */
export type LocalCounts = {
  /** Notes what Redis says, so that there is something to go by. */
  note(shares: readonly Share[], taking: Pick<Taking, 'nowMs' | 'sums'>): void;
  knows(counter: Counter): boolean;
  /** As `SharedCounts.take`, within this instance's part of each limit. */
  take(shares: readonly Share[], nowMs: number): Taking;
  correct(correction: Correction): void;
  /** Redis counts again: what was counted here is there by then. */
  forget(): void;
};

const seenMax = 20_000;

/**
 * With `instances` of them, each has that part of a limit, less its part of what Redis had counted when it was last seen; so together they
 * stay within it, as long as all of them knew the others.
 */
export function createLocalCounts(instances: () => number): LocalCounts {
  const seen = new Map<string, Seen>();
  const counts = new Map<string, { rule: Counter['rule']; places: Map<number, number> }>();

  const countOf = ({ id, rule }: Counter) => {
    const known = counts.get(id);
    if (known) return known.places;
    const last = seen.get(id);
    const places = new Map<number, number>();
    if (last) places.set(placeOf(rule, last.atMs), Math.ceil(last.sum / instances()));
    const [oldest] = counts.size < seenMax ? [] : counts.keys();
    if (oldest !== undefined) counts.delete(oldest);
    counts.set(id, { rule, places });
    return places;
  };
  return {
    note(shares, { nowMs: atMs, sums }) {
      if (seen.size >= seenMax) seen.clear();
      for (const [at, { counter }] of shares.entries()) seen.set(counter.id, { sum: sums[at] ?? 0, atMs });
    },
    knows: ({ id }) => seen.has(id) || counts.has(id),
    take(shares, nowMs) {
      let blocked: Share | undefined;
      let waitMs = 0;
      const sums: number[] = [];
      for (const share of shares) {
        const places = countOf(share.counter);
        const { oldest, freeAtMs } = boundsOf(share.counter, nowMs);
        for (const place of places.keys()) if (place < oldest) places.delete(place);
        const sum = [...places.values()].reduce((all, each) => all + each, 0);
        sums.push(sum);
        const part = Math.floor(share.limit / instances());
        let over = sum + share.amount - part;
        if (over <= 0) continue;
        const order = [...places].sort(([a], [b]) => a - b);
        const last = order.find(([, amount]) => {
          over -= amount;
          return over <= 0;
        });
        // What is more than this instance's part alone has to wait until Redis is back.
        const ownMs = last ? freeAtMs(last[0]) - nowMs : 1_000;
        if (!blocked || ownMs > waitMs) [blocked, waitMs] = [share, ownMs];
      }
      if (!blocked) {
        for (const [at, { counter, amount }] of shares.entries()) {
          add(countOf(counter), placeOf(counter.rule, nowMs), amount);
          sums[at] = (sums[at] ?? 0) + amount;
        }
      }
      return { nowMs, askedMs: performance.now(), blocked, waitMs, sums };
    },
    correct({ counter, place, amount }) {
      const known = counts.get(counter.id);
      if (known?.places.has(place)) add(known.places, place, amount);
    },
    forget: () => counts.clear(),
  };
}

const add = (places: Map<number, number>, place: number, amount: number) =>
  places.set(place, (places.get(place) ?? 0) + amount);

/** The oldest place that counts, and when a place no longer will. */
function boundsOf({ rule }: Counter, nowMs: number): { oldest: number; freeAtMs: (place: number) => number } {
  if (rule.kind === 'usd') {
    const { fromMs, toMs } = periodOf(rule.per, nowMs);
    return { oldest: fromMs, freeAtMs: () => toMs };
  }
  const { bucketMs, heldMs } = splitOf(rule.windowMs);
  return { oldest: Math.floor((nowMs - heldMs) / bucketMs), freeAtMs: (place) => (place + 1) * bucketMs + heldMs };
}
