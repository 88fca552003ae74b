import type { Bus } from '#shared/bus/bus.ts';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { limitLabel } from '#shared/label-limit.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Outcome } from './call.ts';

const appendMsMax = 30_000;
const labelsMax = 100;

const outcomeOf = ({ failure }: Outcome) =>
  failure === undefined ? 'ok' : failure instanceof Failure ? failure.code : 'internal';

/** Writes a call into the ledger. Calls that neither the provider nor the cache answered are none. */
export async function appendToLedger(
  bus: Bus,
  writer: Writer,
  logger: Logger,
  request: ChatRequest,
  outcome: Outcome,
): Promise<void> {
  const { facts, reached } = outcome;
  if (!reached && facts.cache !== 'hit' && facts.cache !== 'coalesced') return;
  const { key, agentId = null, runId = null } = request;
  const data = { ...facts, key, agentId, runId, outcome: outcomeOf(outcome) };
  const links = runId ? { correlationid: runId } : {};
  try {
    await bus.append(
      newEvent({ type: 'toka.llm.called.v1', data }, `llm/${key}`, writer, links),
      undefined,
      appendMsMax,
    );
  } catch (error) {
    logger.error({ reason: messageOf(error), ...data }, 'a model call is missing from the ledger');
  }
}

/** Counts calls. Agents may name any model, so only the first hundred have a label of their own. */
export function createCounter(metrics: Metrics): (request: ChatRequest, outcome: Outcome) => void {
  const labelOf = limitLabel(labelsMax);
  return (request, outcome) => {
    const { facts, reached, response } = outcome;
    const labels = { provider: facts.provider, model: labelOf(facts.model) };
    metrics.llmRequests.inc({ ...labels, outcome: outcomeOf(outcome) });
    metrics.llmCache.inc({ result: facts.cache });
    countForAgent(metrics, request, outcome);
    if (!reached) return;
    metrics.llmSeconds.observe(labels, facts.latencyMs / 1_000);
    metrics.llmCostUnknown.inc(labels, facts.costUsd === null ? 1 : 0);
    if (facts.costUsd !== null) metrics.llmCost.inc(labels, facts.costUsd);
    if (!response) return;
    metrics.llmTokens.inc({ ...labels, kind: 'input' }, facts.usage.inputTokens);
    metrics.llmTokens.inc({ ...labels, kind: 'cached-input' }, facts.usage.cachedInputTokens);
    metrics.llmTokens.inc({ ...labels, kind: 'cache-write' }, facts.usage.cacheWriteTokens);
    metrics.llmTokens.inc({ ...labels, kind: 'output' }, facts.usage.outputTokens);
  };
}

/** What an agent's call took. A cached answer has no tokens that anyone paid for. */
function countForAgent(metrics: Metrics, request: ChatRequest, { facts, reached, response }: Outcome): void {
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
