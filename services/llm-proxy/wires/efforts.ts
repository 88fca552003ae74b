import type { Effort } from './pivot.ts';
import { efforts } from './pivot.ts';

/** The effort that a model takes instead of one that it may not know: the nearest below, else its least. Undefined: it knows none. */
export function nearestEffort(asked: Effort, taken: readonly Effort[]): Effort | undefined {
  const rank = (effort: Effort) => efforts.indexOf(effort);
  // To think less is another wish than not to think.
  const real = taken.filter((effort) => effort !== 'none').sort((a, b) => rank(a) - rank(b));
  return real.findLast((effort) => rank(effort) <= rank(asked)) ?? real[0];
}
