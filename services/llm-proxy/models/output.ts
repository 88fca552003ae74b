import type { Target } from './target.ts';

type Bounds = { outputDefault: number | undefined; outputMax: number };

/** What an answer of this target may have where the client named no limit: what the model can, as far as it may. Undefined: it named one. */
export const unaskedOutput = (
  { outputDefault, outputMax }: Bounds,
  { maxOutputTokens }: Pick<Target, 'maxOutputTokens'>,
): number | undefined =>
  outputDefault === undefined ? undefined : Math.min(maxOutputTokens ?? outputDefault, outputMax);
