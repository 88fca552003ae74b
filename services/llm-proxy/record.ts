import type { Bus } from '#shared/bus/bus.ts';
import type { CallFacts, ChatRequest } from '#shared/contracts/llm.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { limitLabel } from '#shared/label-limit.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Outcome } from './call.ts';

/** How a call ended; `cancelled`: who had asked was gone before. */
export type End = { facts: CallFacts; reached: boolean; failure?: unknown; cancelled?: boolean };
type Asker = Pick<ChatRequest, 'key' | 'agentId' | 'runId'>;

const appendMsMax = 30_000;
const labelsMax = 100;

function outcomeOf({ failure, cancelled }: End): string {
  if (cancelled) return 'cancelled';
  return failure === undefined ? 'ok' : failure instanceof Failure ? failure.code : 'internal';
}

/** Writes a call into the ledger. Calls that neither the provider nor the cache answered are none. */
export async function appendToLedger(
  bus: Bus,
  writer: Writer,
  logger: Logger,
  request: Asker,
  outcome: End,
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

/** Counts calls. Anyone may name any model, so only the first hundred have a label of their own. */
export function createCounter(metrics: Metrics): (outcome: End) => void {
  const labelOf = limitLabel(labelsMax);
  const series = createSeries(metrics);
  return (outcome) => {
    const { facts, reached } = outcome;
    const of = series(facts.provider, labelOf(facts.model));
    of.outcome(outcomeOf(outcome)).inc();
    metrics.llmCache.inc({ result: facts.cache });
    if (!reached) return;
    of.seconds.observe(facts.latencyMs / 1_000);
    if (facts.costUsd === null) of.costUnknown.inc();
    else of.cost.inc(facts.costUsd);
    const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = facts.usage;
    if (inputTokens + outputTokens === 0) return;
    of.tokens('input').inc(inputTokens);
    of.tokens('cached-input').inc(cachedInputTokens);
    of.tokens('cache-write').inc(cacheWriteTokens);
    of.tokens('output').inc(outputTokens);
  };
}

/** The series of each provider's model, found once: to find one by its labels takes longer than to count. */
function createSeries(metrics: Metrics) {
  const made = new Map<string, ReturnType<typeof make>>();
  const make = (provider: string, model: string) => {
    const labels = { provider, model };
    metrics.llmCostUnknown.inc(labels, 0);
    return {
      outcome: memo((outcome: string) => metrics.llmRequests.labels({ ...labels, outcome })),
      tokens: memo((kind: string) => metrics.llmTokens.labels({ ...labels, kind })),
      seconds: metrics.llmSeconds.labels(labels),
      cost: metrics.llmCost.labels(labels),
      costUnknown: metrics.llmCostUnknown.labels(labels),
    };
  };
  return (provider: string, model: string) => {
    const key = `${provider}\0${model}`;
    const known = made.get(key) ?? make(provider, model);
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
export function countForAgent(metrics: Metrics, request: ChatRequest, { facts, reached, response }: Outcome): void {
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
