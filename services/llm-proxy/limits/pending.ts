import type { Correction } from './shared-counts.ts';

const atOnce = 500;
const max = 100_000;
const soonMs = 5;

/** What Redis has yet to hear of. */
export type Pending = {
  add(correction: Correction): void;
  /** Sends it in a moment, with what comes until then. */
  flushSoon(): void;
  /** As soon as can be; `failed` hears of an error. */
  flushNow(): void;
  /** Sends all of it. Throws what `send` throws, and keeps what was not sent. */
  flush(): Promise<void>;
  /** How much of a count is given back that Redis may not know of yet. */
  givenBack(id: string): number;
};

/** Corrections of one place and epoch are one. `failed` hears of errors, and since when, by `performance.now()`, what failed was under way. */
export function createPending(
  send: (corrections: readonly Correction[]) => Promise<void>,
  failed: (error: unknown, askedMs: number) => void,
): Pending & Disposable {
  let pending = new Map<string, Correction>();
  const underWay = new Set<readonly Correction[]>();
  let flushing: NodeJS.Timeout | undefined;
  const add = (correction: Correction) => {
    const key = `${correction.counter.id} ${correction.place} ${correction.epoch}`;
    const known = pending.get(key);
    // Windows pass; what was spent of a budget must never be forgotten.
    if (!known && pending.size >= max && correction.counter.rule.kind !== 'usd') return;
    if (!Number.isSafeInteger(correction.amount)) return;
    const amount = correction.amount + (known?.amount ?? 0);
    pending.set(key, { ...correction, amount, whole: correction.whole + (known?.whole ?? 0) });
  };
  const flush = async () => {
    const all = [...pending.values()].filter(({ amount, whole }) => amount !== 0 || whole !== 0);
    pending = new Map();
    underWay.add(all);
    // Whoever was answered before this is to find it here.
    const told = () => void setImmediate(() => underWay.delete(all));
    for (let from = 0; from < all.length; from += atOnce) {
      try {
        await send(all.slice(from, from + atOnce));
      } catch (error) {
        // It may have been counted all the same: what would be given back twice is not tried again.
        for (const [at, each] of all.slice(from).entries()) if (at >= atOnce || each.amount > 0) add(each);
        told();
        throw error;
      }
    }
    told();
  };
  const flushNow = () => {
    const askedMs = performance.now();
    flush().catch((error) => failed(error, askedMs));
  };
  return {
    ...{ add, flush, flushNow },
    givenBack: (id) =>
      [...underWay, [...pending.values()]]
        .flat()
        .reduce((sum, { counter, amount }) => sum + (counter.id === id ? Math.max(0, -amount) : 0), 0),
    flushSoon() {
      if (pending.size === 0) return;
      flushing ??= setTimeout(() => {
        flushing = undefined;
        flushNow();
      }, soonMs);
    },
    [Symbol.dispose]: () => clearTimeout(flushing),
  };
}
