import type { Reservations } from './reservations.ts';
import type { SharedCounts } from './shared-counts.ts';

/** How often instances tell each other that they are there, and what they hold. */
export const lookMs = 1_000;

type Held = Readonly<Record<string, number>>;

/** What calls of other instances hold, as far as these have said. */
export type Others = {
  /** `byAll` holds what this instance said last, which was `byThis`. */
  note(byAll: ReadonlyMap<string, number>, byThis: Held): void;
  /** With `own`, what is held of a count that came to `sum`; undefined: others may have added to it since they last said what they hold. */
  held(id: string, sum: number, own: number): number | undefined;
};

const sureMs = 1.5 * lookMs;
const sumsMax = 1_000;

export function createOthers(instances: () => number): Others {
  let all: ReadonlyMap<string, number> = new Map();
  let told: Held = {};
  /** Since when a count has been what it is. */
  const sums = new Map<string, { sum: number; sinceMs: number }>();
  const isSettled = (id: string, sum: number) => {
    if (instances() <= 1) return true;
    const known = sums.get(id);
    if (known?.sum === sum) return performance.now() - known.sinceMs > sureMs;
    if (sums.size >= sumsMax) sums.clear();
    sums.set(id, { sum, sinceMs: performance.now() });
    return false;
  };
  return {
    note(byAll, byThis) {
      [all, told] = [byAll, byThis];
    },
    held(id, sum, own) {
      return isSettled(id, sum) ? own + Math.max(0, (all.get(id) ?? 0) - (told[id] ?? 0)) : undefined;
    },
  };
}

type Looking = {
  shared: SharedCounts;
  reservations: Reservations;
  others: Others;
  known: { instances: number; offsetMs: number; isAway: boolean; bornMs: number };
  /** Redis answers again. */
  comeBack(): Promise<void>;
};

/** Tells the other instances of this one, and hears of them. */
export async function lookAround({ shared, reservations, others, known, comeBack }: Looking): Promise<void> {
  const own = reservations.all();
  const { instances, nowMs, bornMs, held } = await shared.announce(own);
  const isAnother = bornMs !== known.bornMs;
  Object.assign(known, { instances, offsetMs: nowMs - performance.now(), bornMs });
  others.note(held, own);
  if (known.isAway) await comeBack();
  // Whoever counts anew is to know of the calls that are under way here.
  if (isAnother) await Promise.all(reservations.periods().map((each) => shared.begin(each.counter, each.place)));
}
