import type { Answer, CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Breaker } from './breaker.ts';
import type { Cache } from './cache.ts';
import { cacheKey } from './cache.ts';
import type { Models } from './models.ts';
import type { Provider } from './provider.ts';
import type { RateLimit } from './rate-limit.ts';

export type Caller = {
  provider: Provider;
  baseUrl: string;
  models: Models;
  /** Undefined: RESPONSE_CACHE_ENABLED=false. */
  cache: Cache | undefined;
  limit: RateLimit;
  breaker: Breaker;
  defaultModel: string;
  maxOutputTokens: number;
  timeoutMs: number;
  /** Aborted with a Failure when the service must stop now. */
  giveUp: AbortSignal;
};

/** What became of a call: `reached` tells whether the provider was asked. */
export type Outcome = { facts: CallFacts; reached: boolean; response?: ChatResponse; failure?: unknown };

const nothing = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 };

/** One model call: cache, limit, provider. Never throws: a failure is an outcome too. `onText` hears of the text while it comes. */
export async function call(caller: Caller, request: ChatRequest, onText?: (text: string) => void): Promise<Outcome> {
  const { provider, models } = caller;
  const began = performance.now();
  const model = request.model ?? caller.defaultModel;
  let cache: CallFacts['cache'] = 'bypass';
  let reached = false;
  const factsOf = (took: Pick<CallFacts, 'model' | 'usage' | 'costUsd'>): CallFacts => {
    return { provider: provider.name, ...took, latencyMs: Math.round(performance.now() - began), cache };
  };
  try {
    checkTools(request);
    const maxOutputTokens = Math.min(request.maxOutputTokens ?? caller.maxOutputTokens, caller.maxOutputTokens);
    const place = { provider: provider.name, baseUrl: caller.baseUrl, model, maxOutputTokens };
    const key = caller.cache && wantsCache(request) ? cacheKey(request, place) : undefined;
    const found = key === undefined ? null : await caller.cache?.read(key);
    if (found !== null) cache = found ? 'hit' : 'miss';
    if (found) {
      if (found.answer.text) onText?.(found.answer.text);
      const facts = factsOf({ model: found.model, usage: found.usage, costUsd: 0 });
      return { facts, reached, response: { answer: found.answer, facts } };
    }
    const traits = models.traits(provider.name, model);
    const completion = await caller.breaker.run(async () => {
      await caller.limit.admit();
      reached = true;
      const signal = AbortSignal.any([caller.giveUp, AbortSignal.timeout(caller.timeoutMs)]);
      return provider.complete(request, { model, signal, maxOutputTokens, traits, onText });
    });
    const { answer, model: used } = completion;
    const usage = completion.usage ?? estimate(request, answer);
    const facts = factsOf({
      model: used,
      usage,
      costUsd: completion.usage ? models.cost(provider.name, used, usage) : null,
    });
    if (key !== undefined && isWhole(request, answer)) await caller.cache?.write(key, { answer, usage, model: used });
    return { facts, reached, response: { answer, facts } };
  } catch (failure) {
    const costUsd = reached && mayHaveCost(failure) ? null : 0;
    return { facts: factsOf({ model, usage: nothing, costUsd }), reached, failure };
  }
}

const wantsCache = (request: ChatRequest) => request.cache ?? request.temperature === 0;

function checkTools({ tools, toolChoice }: ChatRequest): void {
  if (toolChoice === 'auto' || tools.some(({ name }) => name === toolChoice.name)) return;
  throw new Failure('invalid', `toolChoice names "${toolChoice.name}", which is none of the tools`);
}

/** Only a finished answer that is what was asked for is worth giving again. */
function isWhole({ toolChoice }: ChatRequest, answer: Answer): boolean {
  if (answer.stopReason !== 'end' && answer.stopReason !== 'tool-calls') return false;
  return toolChoice === 'auto' || answer.toolCalls.some(({ tool }) => tool === toolChoice.name);
}

/** A provider that answers with an error does not charge; one that was cut off or that is too slow may. */
const mayHaveCost = (failure: unknown) =>
  !(failure instanceof Failure) || failure.code === 'upstream' || failure.code === 'timeout';

/** For servers that count no tokens, so that a run's limits still hold: about four characters to a token. */
function estimate({ system, messages, tools }: ChatRequest, answer: Answer): CallFacts['usage'] {
  const tokens = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4);
  return {
    inputTokens: tokens([system, messages, tools]),
    outputTokens: tokens(answer),
    cachedInputTokens: 0,
    cacheWriteTokens: 0,
  };
}
