import type { Effort, ModelTraits } from './pivot.ts';
import { efforts } from './pivot.ts';

/** The effort that a model takes instead of one that it may not know: the nearest below, else its least. Undefined: it knows none. */
export function nearestEffort(asked: Effort, taken: readonly Effort[]): Effort | undefined {
  const rank = (effort: Effort) => efforts.indexOf(effort);
  // To think less is another wish than not to think.
  const real = taken.filter((effort) => effort !== 'none').sort((a, b) => rank(a) - rank(b));
  return real.findLast((effort) => rank(effort) <= rank(asked)) ?? real[0];
}

/**
 * The effort that a model of OpenAI's is asked for. An order not to think goes only to one that is known to take it: one that cannot think, or
 * whose thinking has no such step, refuses it. Where some thinking is the least, that is asked for.
 */
export function takenEffort(asked: Effort, { efforts, tools_reasoning_effort }: ModelTraits): Effort | undefined {
  if (asked === tools_reasoning_effort || efforts?.includes(asked)) return asked;
  if (efforts) return nearestEffort(asked, efforts);
  return asked === 'none' ? undefined : asked;
}
