import type { Metrics } from '#shared/metrics.ts';
import type { ModelLabel } from '../models/label.ts';
import type { Target } from '../models/target.ts';
import type { FailoverOptions } from './first-that-answers.ts';

type FailoverCounter = Required<Pick<FailoverOptions, 'onRetry' | 'onFallback'>> & {
  /** The first of a streamed answer has come. */
  onFirst(target: Target, ms: number): void;
};

/** Counts retries and fallbacks, and times the first of streams. */
export function createFailoverCounter(metrics: Metrics, labelOf: ModelLabel): FailoverCounter {
  const placeOf = (target: Target) => `${target.endpoint.name}/${labelOf(target)}`;
  return {
    onFirst(target, ms) {
      // It has begun to answer.
      const model = labelOf(target, true);
      const provider = target.endpoint.name;
      const labels = { gen_ai_operation_name: 'chat', gen_ai_provider_name: provider, gen_ai_request_model: model };
      metrics.firstChunkSeconds.observe(labels, ms / 1_000);
    },
    onRetry: ({ endpoint }, reason) => metrics.llmRetries.inc({ endpoint: endpoint.name, reason }),
    onFallback: (from, to) => metrics.llmFallbacks.inc({ from: placeOf(from), to: placeOf(to) }),
  };
}
