import type { Target } from './target.ts';

/** A target's model as a metric's label. */
export type ModelLabel = (target: Target | undefined, wasAnswered?: boolean) => string;

const othersMax = 100;

/**
 * Models of MODELS_FILE have their names. Anyone may name any other model, so of those only the first hundred that a provider has
 * answered as get a label of their own.
 */
export function createModelLabel(): ModelLabel {
  const answered = new Set<string>();
  return (target, wasAnswered = false) => {
    if (!target) return 'none';
    if (target.isListed) return target.id;
    if (wasAnswered && answered.size < othersMax) answered.add(target.id);
    return answered.has(target.id) ? target.id : 'other';
  };
}
