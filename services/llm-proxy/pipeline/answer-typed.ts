import { z } from 'zod';
import type { CallFacts, ChatRequest, ChatResponse } from '#shared/contracts/llm.ts';
import { Answer, Usage } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Answers } from '../cache/answers.ts';
import { placesOf, typedCacheKey } from '../cache/key.ts';
import type { Models, Target } from '../models/target.ts';
import { estimate, noUsage, tokensMaxOf } from '../tokens.ts';
import type { Upstreams } from '../upstreams/upstreams.ts';
import type { Asker } from './ask-model.ts';
import { askModel, mayHaveCost, nameOfRequest } from './ask-model.ts';
import type { CheckFresh } from './freshness.ts';
import type { End } from './record.ts';

export type Caller = {
  asker: Asker;
  models: Models;
  upstreams: Upstreams;
  /** Undefined: RESPONSE_CACHE_ENABLED=false. */
  answers: Answers | undefined;
  maxOutputTokens: number;
  /** How long a call waits for a limit. */
  queueMs: number;
  /** Aborted with a Failure when the service must stop now. */
  giveUp: AbortSignal;
  checkFresh: CheckFresh;
};

const entryType = 'toka/answer';
const Entry = z.object({ answer: Answer, usage: Usage, model: z.string(), provider: z.string() });
type Entry = z.infer<typeof Entry>;

/** An answer that was made for this call. */
type Made = { entry: Entry; estimated: boolean; costUsd: number | null; target: Target };

/** What became of a call: `reached` tells whether a provider was asked. */
export type Outcome = End & { response?: ChatResponse };

/**
 * One model call: cache, limits, provider. Never throws: a failure is an outcome too. `onText` hears of the text while it comes; `recorded`
 * settles once the outcome is in the ledger.
 */
export async function call(
  caller: Caller,
  request: ChatRequest,
  onText?: (text: string) => void,
  recorded: Promise<void> = Promise.resolve(),
): Promise<Outcome> {
  const began = performance.now();
  let asked: Target | undefined;
  let made: Made | undefined;
  const factsOf = (took: Omit<CallFacts, 'latencyMs'>): CallFacts => {
    return { ...took, latencyMs: Math.round(performance.now() - began) };
  };
  let targets: readonly Target[] = [];
  try {
    checkTools(request);
    targets = caller.models.targets(request.model, request.context?.id ?? request.runId);
    const onAsk = (target: Target) => {
      asked = target;
    };
    const ask = async (ended: AbortSignal): Promise<Made> => {
      made = await askFor(caller, request, targets, ended, onAsk, { onText, recorded });
      return made;
    };
    const { entry, cache } = await answer(caller, request, targets, ask);
    const { provider, model, usage } = entry;
    const isOwn = cache === 'miss' || cache === 'bypass';
    if (!isOwn && entry.answer.text) onText?.(entry.answer.text);
    const estimated = isOwn && made?.estimated ? { estimated: true as const } : {};
    const facts = factsOf({ provider, model, usage, ...estimated, cache, costUsd: isOwn && made ? made.costUsd : 0 });
    const target = asked ?? targets[0];
    return { facts, target, reached: asked !== undefined, response: { answer: entry.answer, facts } };
  } catch (failure) {
    const costUsd = asked && mayHaveCost(failure) ? null : 0;
    const target = asked ?? targets[0];
    const [provider, model] = [target?.endpoint.name ?? 'none', target?.id ?? request.model ?? 'none'];
    const facts = factsOf({ provider, model, usage: noUsage, cache: 'bypass', costUsd });
    return { facts, target, reached: asked !== undefined, failure };
  }
}

/** Has an answer made by the first of the targets that will. */
function askFor(
  { asker, upstreams, maxOutputTokens, queueMs, checkFresh }: Caller,
  request: ChatRequest,
  targets: readonly Target[],
  signal: AbortSignal,
  onAsk: (target: Target) => void,
  { onText, recorded }: { onText: ((text: string) => void) | undefined; recorded: Promise<void> },
): Promise<Made> {
  const { key, agentId: agent, workstream, priority } = request;
  const outputMax = (target: Target) =>
    Math.min(request.maxOutputTokens ?? maxOutputTokens, maxOutputTokens, target.maxOutputTokens ?? maxOutputTokens);
  const inputTokens = tokensMaxOf(request);
  const question = {
    ...{ targets, signal, waitMs: queueMs, recorded },
    who: { key, agent, workstream, priority },
    size: (target: Target) => ({ inputTokens, outputTokens: outputMax(target) }),
    check: () => checkFresh(request),
    request: () => nameOfRequest('agent', JSON.stringify([request.agentId, request.system, request.messages])),
  };
  return askModel(asker, question, async (target, ended, marks) => {
    const { endpoint, model, traits } = target;
    onAsk(target);
    marks.reached();
    const completion = await upstreams.provider(endpoint).complete(request, {
      ...{ model, traits, signal: ended, maxOutputTokens: outputMax(target) },
      onBegin(status, headers) {
        if (status === 200) marks.began();
        asker.limits.observe(endpoint.name, target.id, status, (name) => headers.get(name) ?? undefined);
      },
      onPiece: marks.piece,
      onText:
        onText &&
        ((text) => {
          marks.sent();
          onText(text);
        }),
    });
    const { answer, usage = estimate(request, answer) } = completion;
    marks.took(usage);
    const entry = { answer, usage, model: completion.model, provider: endpoint.name };
    const estimated = completion.usage === undefined;
    return { entry, target, estimated, costUsd: estimated ? null : target.cost(usage) };
  });
}

type Answered = { entry: Entry; cache: CallFacts['cache'] };

/** An answer that is kept or under way, where the request takes one; else `ask` is called for it. */
async function answer(
  { answers, giveUp, maxOutputTokens }: Caller,
  request: ChatRequest,
  targets: readonly Target[],
  ask: (ended: AbortSignal) => Promise<Made>,
): Promise<Answered> {
  if (!answers || !wantsCache(request)) return { entry: (await ask(giveUp)).entry, cache: 'bypass' };
  const key = typedCacheKey(request, {
    targets: placesOf(targets),
    maxOutputTokens: Math.min(request.maxOutputTokens ?? maxOutputTokens, maxOutputTokens),
  });
  let isAsked = false;
  const make = async (ended: AbortSignal) => {
    isAsked = true;
    const { entry, target } = await ask(ended);
    // What only a fallback said is not what will be said once the model is back.
    const keep = target.id === targets[0]?.id && isWhole(request, entry.answer);
    return { body: Buffer.from(JSON.stringify(entry)), type: entryType, keep };
  };
  const get = () => answers.get(key, { read: true, write: true }, make, giveUp);
  const found = await get().catch((thrown: unknown) => {
    // Of an equal call of another run, which had gone on: it says nothing of this one.
    if (!isAsked && thrown instanceof Failure && thrown.code === 'stale') return get();
    throw thrown;
  });
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
