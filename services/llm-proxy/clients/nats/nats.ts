import type { Redis } from 'ioredis';
import type { CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import { placesOf, typedCacheKey } from '../../cache/key.ts';
import type { Config } from '../../config.ts';
import { openContexts } from '../../context/contexts.ts';
import type { ContractCall, Parts } from '../../model-call.ts';
import type { Target } from '../../models/target.ts';
import { answerCall } from '../../pipeline/answer-call.ts';
import { nameOfRequest } from '../../pipeline/ask-model.ts';
import { countForAgent } from '../../pipeline/count-calls.ts';
import { logCall } from '../../pipeline/debug.ts';
import type { CheckFresh } from '../../pipeline/freshness.ts';
import { createCheckFresh } from '../../pipeline/freshness.ts';
import { factsOf, recordCall } from '../../pipeline/record.ts';
import { newTold } from '../../stream-facts.ts';
import { tokensMaxOf } from '../../tokens.ts';
import { runContract } from '../../upstreams/run-contract.ts';
import { decodeEntry } from '../../wires/contract/entry.ts';
import { createChunks } from './chunks.ts';

type Options = {
  /** How long a call waits for a limit. */
  queueMs: number;
  /** Aborted with a Failure when the service must stop now. */
  giveUp: AbortSignal;
  checkFresh: CheckFresh;
};

/** Answers the calls that come over NATS: those of our own agents. */
export function answerCalls(
  { bus, config, logger, metrics }: Context<Config>,
  parts: Parts,
  giveUp: AbortSignal,
  redis: Redis,
): void {
  const contextOptions = { size: config.CONTEXT_CACHE_SIZE, ttlS: config.CONTEXT_CACHE_TTL };
  const contexts = openContexts(redis, contextOptions, logger, metrics);
  const options = { queueMs: config.LLM_QUEUE_TIMEOUT * 1_000, giveUp, checkFresh: createCheckFresh(bus, metrics) };
  bus.answer(chat, async (asked, sendChunk) => {
    const { request, remember } = await contexts.resolve(asked);
    using chunks = createChunks(sendChunk);
    const call = openCall(parts, options, request, request.stream ? chunks.add : undefined);
    const [outcome] = await Promise.all([answer(parts, call), remember()]);
    countForAgent(metrics, request, { ...outcome, reached: call.reached });
    if (parts.debug) logCall(logger, request, outcome);
    if (!outcome.response) throw outcome.failure;
    return outcome.response;
  });
}

type Outcome = { facts: CallFacts; response?: ChatResponse; failure?: unknown };

/** Never throws: the conversation is remembered, and the call counted, whatever becomes of it. */
async function answer(parts: Parts, call: ContractCall): Promise<Outcome> {
  try {
    await begin(parts, call);
    const found = await answerCall(parts, call);
    const entry = decodeEntry(found);
    if (!entry) throw new Failure('upstream', 'the answer is none of our contract');
    const isOwn = call.reached;
    if (!isOwn && entry.answer.text) call.onText?.(entry.answer.text);
    // Whether there was a cache to ask is known once the answer is there.
    const facts = { ...(call.facts ?? factsOf(call, undefined)), cache: found.cache };
    return { facts, response: { answer: entry.answer, facts } };
  } catch (failure) {
    return { facts: call.facts ?? factsOf(call, failure), failure };
  }
}

/** Finds whom to ask. Throws what is the caller's mistake, which is counted like all that becomes of a call. */
async function begin(parts: Parts, call: ContractCall): Promise<void> {
  const { model, context, runId, tools, toolChoice } = call.request;
  try {
    if (toolChoice !== 'auto' && !tools.some(({ name }) => name === toolChoice.name)) {
      throw new Failure('invalid', `toolChoice names "${toolChoice.name}", which is none of the tools`);
    }
    call.targets = parts.models.targets(model, context?.id ?? runId);
  } catch (failure) {
    await recordCall(parts, call, failure);
    throw failure;
  }
}

function openCall(
  parts: Parts,
  { queueMs, giveUp, checkFresh }: Options,
  request: ChatRequest,
  onText: ContractCall['onText'],
): ContractCall {
  const { maxOutputTokens, outputCeiling } = parts;
  const { key, agentId, runId, trace, workstream, priority } = request;
  const outputMax = (target?: Target) =>
    Math.min(request.maxOutputTokens ?? maxOutputTokens, outputCeiling, target?.maxOutputTokens ?? outputCeiling);
  const inputTokens = tokensMaxOf(request);
  const call: ContractCall = {
    ...{ request, outputMax, onText },
    beganMs: performance.now(),
    model: request.model ?? 'none',
    operation: 'chat',
    ...{ targets: [], target: undefined, cache: 'bypass', collect: false, reached: false, recorded: false },
    told: newTold(),
    signal: giveUp,
    payer: { key, agentId, runId, trace, workstream },
    isLedgerFirst: true,
    asking: {
      who: { key, agent: agentId, workstream, priority },
      waitMs: queueMs,
      size: (target) => ({ inputTokens, outputTokens: outputMax(target) }),
      check: () => checkFresh(request),
      request: () => nameOfRequest('agent', JSON.stringify([agentId, request.system, request.messages])),
    },
    cached: () =>
      wantsCache(request)
        ? {
            key: typedCacheKey(request, { targets: placesOf(call.targets), maxOutputTokens: outputMax() }),
            how: { read: true, write: true },
          }
        : undefined,
    prepare: (target) => runContract(parts, call, target),
    tell(found) {
      const entry = decodeEntry(found);
      if (!entry) return false;
      const { model, usage, provider } = entry;
      Object.assign(call.told, { model, usage, provider, ended: true });
      return true;
    },
  };
  return call;
}

const wantsCache = (request: ChatRequest) => request.cache ?? request.temperature === 0;
