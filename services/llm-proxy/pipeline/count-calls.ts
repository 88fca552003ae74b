import type { CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Count, Operation } from '../model-call.ts';
import type { ModelLabel } from '../models/label.ts';
import { outcomeOf } from './record.ts';

/** Counts calls. */
export function createCounter(metrics: Metrics, labelOf: ModelLabel): Count {
  const series = createSeries(metrics);
  return (outcome, operation) => {
    const { facts, reached, target } = outcome;
    const how = outcomeOf(outcome);
    const of = series(operation, facts.provider, labelOf(target, reached && how === 'ok'));
    of.outcome(how).inc();
    metrics.llmCache.inc({ result: facts.cache });
    if (!reached) return;
    of.seconds(how).observe(facts.latencyMs / 1_000);
    if (facts.costUsd === null) of.costUnknown.inc();
    else of.cost.inc(facts.costUsd);
    const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = facts.usage;
    if (inputTokens + outputTokens === 0) return;
    of.tokens('input').observe(inputTokens);
    of.tokens('output').observe(outputTokens);
    if (cachedInputTokens > 0) of.tokens('cached-input').observe(cachedInputTokens);
    if (cacheWriteTokens > 0) of.tokens('cache-write').observe(cacheWriteTokens);
  };
}

/** The series of each provider's model, found once: to find one by its labels takes longer than to count. */
function createSeries(metrics: Metrics) {
  const made = new Map<string, ReturnType<typeof make>>();
  const make = (operation: Operation, provider: string, model: string) => {
    const labels = { provider, model };
    const operationLabels = {
      gen_ai_operation_name: operation,
      gen_ai_provider_name: provider,
      gen_ai_request_model: model,
    };
    metrics.llmCostUnknown.inc(labels, 0);
    return {
      outcome: memo((outcome: string) => metrics.llmRequests.labels({ ...labels, outcome })),
      seconds: memo((outcome: string) =>
        metrics.operationSeconds.labels(
          outcome === 'ok' ? operationLabels : { ...operationLabels, error_type: outcome },
        ),
      ),
      tokens: memo((type: string) => metrics.tokenUsage.labels({ ...operationLabels, gen_ai_token_type: type })),
      cost: metrics.llmCost.labels(labels),
      costUnknown: metrics.llmCostUnknown.labels(labels),
    };
  };
  return (operation: Operation, provider: string, model: string) => {
    const key = `${operation}\0${provider}\0${model}`;
    const known = made.get(key) ?? make(operation, provider, model);
    made.set(key, known);
    return known;
  };
}

function memo<T>(make: (key: string) => T): (key: string) => T {
  const made = new Map<string, T>();
  return (key) => {
    const known = made.get(key) ?? make(key);
    made.set(key, known);
    return known;
  };
}

/** What an agent's call took. A cached answer has no tokens that anyone paid for. */
export function countForAgent(
  metrics: Metrics,
  request: ChatRequest,
  { facts, reached, response }: { facts: CallFacts; reached: boolean; response?: ChatResponse },
): void {
  if (request.agentId === undefined) return;
  const agent = metrics.agentLabel(request.agentId);
  const bytesOf = (value: unknown) => Buffer.byteLength(JSON.stringify(value));
  metrics.agentNetworkBytes.inc({ agent, direction: 'sent' }, bytesOf(request));
  if (response) metrics.agentNetworkBytes.inc({ agent, direction: 'received' }, bytesOf(response.answer));
  if (!reached || !response) return;
  metrics.agentTokens.inc({ agent, kind: 'input' }, facts.usage.inputTokens);
  metrics.agentTokens.inc({ agent, kind: 'output' }, facts.usage.outputTokens);
  if (facts.costUsd !== null) metrics.agentCost.inc({ agent }, facts.costUsd);
}
