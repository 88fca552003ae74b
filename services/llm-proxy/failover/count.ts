import { limitLabel } from '#shared/label-limit.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { FailoverOptions } from './first-that-answers.ts';

const labelsMax = 50;

/** Counts retries and fallbacks. Anyone may name any model, so only the first fifty targets have a label of their own. */
export function createFailoverCounter(metrics: Metrics): Required<Pick<FailoverOptions, 'onRetry' | 'onFallback'>> {
  const labelOf = limitLabel(labelsMax);
  return {
    onRetry: ({ endpoint }, reason) => metrics.llmRetries.inc({ endpoint: endpoint.name, reason }),
    onFallback: (from, to) =>
      metrics.llmFallbacks.inc({
        from: labelOf(`${from.endpoint.name}/${from.id}`),
        to: labelOf(`${to.endpoint.name}/${to.id}`),
      }),
  };
}
