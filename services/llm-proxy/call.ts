import { z } from 'zod';
import type { CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import { Answer, Usage } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Breaker } from './breaker.ts';
import type { Answers } from './cache/answers.ts';
import { typedCacheKey } from './cache/key.ts';
import type { Models } from './models.ts';
import type { Provider } from './provider.ts';
import type { RateLimit } from './rate-limit.ts';

export type Caller = {
  provider: Provider;
  baseUrl: string;
  models: Models;
  /** Undefined: RESPONSE_CACHE_ENABLED=false. */
  answers: Answers | undefined;
  limit: RateLimit;
  breaker: Breaker;
  defaultModel: string;
  maxOutputTokens: number;
  timeoutMs: number;
  /** Aborted with a Failure when the service must stop now. */
  giveUp: AbortSignal;
};

const entryType = 'toka/answer';
const Entry = z.object({ answer: Answer, usage: Usage, model: z.string() });
type Entry = z.infer<typeof Entry>;

/** What became of a call: `reached` tells whether the provider was asked. */
export type Outcome = { facts: CallFacts; reached: boolean; response?: ChatResponse; failure?: unknown };

const nothing = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 };

/** One model call: cache, limit, provider. Never throws: a failure is an outcome too. `onText` hears of the text while it comes. */
export async function call(caller: Caller, request: ChatRequest, onText?: (text: string) => void): Promise<Outcome> {
  const { provider, models } = caller;
  const began = performance.now();
  const model = request.model ?? caller.defaultModel;
  const maxOutputTokens = Math.min(request.maxOutputTokens ?? caller.maxOutputTokens, caller.maxOutputTokens);
  let cache: CallFacts['cache'] = 'bypass';
  let reached = false;
  let priced = true;
  const factsOf = (took: Pick<CallFacts, 'model' | 'usage' | 'costUsd'>): CallFacts => {
    return { provider: provider.name, ...took, latencyMs: Math.round(performance.now() - began), cache };
  };
  const ask = async (ended: AbortSignal): Promise<Entry> => {
    const traits = models.traits(provider.name, model);
    const { answer, ...completion } = await caller.breaker.run(async () => {
      await caller.limit.admit();
      reached = true;
      const signal = AbortSignal.any([ended, AbortSignal.timeout(caller.timeoutMs)]);
      return provider.complete(request, { model, signal, maxOutputTokens, traits, onText });
    });
    priced = completion.usage !== undefined;
    return { answer, usage: completion.usage ?? estimate(request, answer), model: completion.model };
  };
  try {
    checkTools(request);
    const place = { provider: provider.name, baseUrl: caller.baseUrl, model, maxOutputTokens };
    const found = await answer(caller, request, place, ask);
    const { entry } = found;
    cache = found.cache;
    const isOwn = cache === 'miss' || cache === 'bypass';
    if (!isOwn && entry.answer.text) onText?.(entry.answer.text);
    const { usage } = entry;
    const costUsd = isOwn ? (priced ? models.cost(provider.name, entry.model, usage) : null) : 0;
    const facts = factsOf({ model: entry.model, usage, costUsd });
    return { facts, reached, response: { answer: entry.answer, facts } };
  } catch (failure) {
    const costUsd = reached && mayHaveCost(failure) ? null : 0;
    return { facts: factsOf({ model, usage: nothing, costUsd }), reached, failure };
  }
}

type Place = Parameters<typeof typedCacheKey>[1];
type Answered = { entry: Entry; cache: CallFacts['cache'] };

/** An answer that is kept or under way, where the request takes one; else `ask` is called for it. */
async function answer(
  { answers, giveUp }: Caller,
  request: ChatRequest,
  place: Place,
  ask: (ended: AbortSignal) => Promise<Entry>,
): Promise<Answered> {
  if (!answers || !wantsCache(request)) return { entry: await ask(giveUp), cache: 'bypass' };
  const key = typedCacheKey(request, place);
  const make = async (ended: AbortSignal) => {
    const entry = await ask(ended);
    return { body: Buffer.from(JSON.stringify(entry)), type: entryType, keep: isWhole(request, entry.answer) };
  };
  const found = await answers.get(key, { read: true, write: true }, make, giveUp);
  const entry = found.type === entryType ? parseEntry(found.body) : undefined;
  if (entry) return { entry, cache: found.cache };
  // What Redis holds may be anyone's: only what is an answer counts, and a new one takes its place.
  const anew = await answers.get(key, { read: false, write: true }, make, giveUp);
  return { entry: Entry.parse(JSON.parse(anew.body.toString())), cache: 'miss' };
}

function parseEntry(body: Buffer): Entry | undefined {
  try {
    return Entry.parse(JSON.parse(body.toString()));
  } catch {
    return undefined;
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
export const mayHaveCost = (failure: unknown) =>
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
