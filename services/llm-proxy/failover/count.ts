import { limitLabel } from '#shared/label-limit.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Target } from '../models/target.ts';
import type { FailoverOptions } from './first-that-answers.ts';

const labelsMax = 50;

type FailoverCounter = Required<Pick<FailoverOptions, 'onRetry' | 'onFallback'>> & {
  /** The first of a streamed answer has come. */
  onFirst(target: Target, ms: number): void;
};

/** Counts retries and fallbacks, and times first tokens. Anyone may name any model, so only the first fifty targets have a label of their own. */
export function createFailoverCounter(metrics: Metrics): FailoverCounter {
  const labelOf = limitLabel(labelsMax);
  return {
    onFirst: ({ endpoint, id }, ms) =>
      metrics.llmFirstSeconds.observe({ provider: endpoint.name, model: labelOf(id) }, ms / 1_000),
    onRetry: ({ endpoint }, reason) => metrics.llmRetries.inc({ endpoint: endpoint.name, reason }),
    onFallback: (from, to) =>
      metrics.llmFallbacks.inc({
        from: labelOf(`${from.endpoint.name}/${from.id}`),
        to: labelOf(`${to.endpoint.name}/${to.id}`),
      }),
  };
}
