import { Failure } from '#shared/errors.ts';
import type { Made } from '../cache/entry.ts';
import { limitNames } from '../clients/http/output-limit.ts';
import type { Marks } from '../failover/attempt.ts';
import type { Call, Parts } from '../model-call.ts';
import type { Target } from '../models/target.ts';
import { tokensOfBytes } from '../tokens.ts';
import { askModel, nameOfRequest } from './ask-model.ts';
import { recordCall } from './record-call.ts';
import { unseenTokens } from './unseen-tokens.ts';

/** Makes the call at one target. */
export type Run = (signal: AbortSignal, marks: Marks) => Promise<Made>;

/** One call to whichever target answers, and what it took into the ledger. `runFor` throws where a target cannot answer such a call. */
export async function ask(
  parts: Parts,
  call: Call,
  runFor: (target: Target) => Run,
  signal: AbortSignal,
): Promise<Made> {
  const { key, targets } = call;
  const runs = new Map<Target, Run>();
  const inLedger = Promise.withResolvers<void>();
  const question = {
    ...{ targets, signal, waitMs: parts.clientWaitMs, recorded: inLedger.promise },
    ...{ isPatient: false, retriesMade: retriesOf(call), request: () => nameOfRequest(key.id, call.raw) },
    cannot: (target: Target) => refusalOf(() => runs.set(target, runFor(target))),
    who: {
      ...{ key: key.id, isClient: true, workstream: key.workstream ?? undefined },
      ...{ priority: 'medium' as const, rules: key.rules, isFree: call.route.kind === 'count' },
    },
    size: (target: Target) => sizeOf(parts, call, target),
  };
  try {
    const made = await askModel(parts.asker, question, (target, ended, marks) => {
      const run = runs.get(target) ?? runFor(target);
      call.target = target;
      call.reached = true;
      marks.reached();
      return run(ended, marks);
    });
    await recordCall(parts, call, call.told.failure, inLedger.resolve);
    return made;
  } catch (thrown) {
    await recordCall(parts, call, thrown, inLedger.resolve);
    throw thrown;
  }
}

/** Why a target cannot answer such a call, where that is so. Throws what is not about the target. */
function refusalOf(prepare: () => unknown): Failure | undefined {
  try {
    prepare();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof Failure && thrown.code === 'invalid') return thrown;
    throw thrown;
  }
}

/** The first target that can answer such a call, and what is to be done there. Throws what the first of all says where none can. */
export function firstAble(targets: readonly Target[], runFor: (target: Target) => Run): { target: Target; run: Run } {
  let first: Failure | undefined;
  for (const target of targets) {
    let run: Run | undefined;
    const refusal = refusalOf(() => {
      run = runFor(target);
    });
    if (run) return { target, run };
    first ??= refusal;
  }
  throw first ?? new Failure('unavailable', 'there is nobody to ask');
}

const retriesCounted = 100;

/** How often a client's SDK has tried by itself: both send `x-stainless-retry-count` (openai 7.57 and @anthropic-ai/sdk 1.12, read 2026-11-30). */
function retriesOf({ headers }: Call): number {
  const said = Number(headers['x-stainless-retry-count']);
  return Number.isSafeInteger(said) && said > 0 ? Math.min(said, retriesCounted) : 0;
}

/** Of the prompt a third of its bytes, which most texts do not have in tokens, and what the provider is to fetch; of the answer the most that any of its limits lets it be. */
function sizeOf({ maxOutputTokens }: Parts, { raw, body, route, outputDefault }: Call, target: Target) {
  if (route.kind === 'count') return { inputTokens: 0, outputTokens: 0 };
  const inputTokens = tokensOfBytes(raw.length) + unseenTokens(body);
  if (route.kind === 'embeddings') return { inputTokens, outputTokens: 0 };
  const most = outputDefault ?? maxOutputTokens;
  const asked = Math.max(...limitNames.map((name) => countOf(body[name]) ?? -1));
  const unasked = Math.min(target.maxOutputTokens ?? most, most);
  const each = outputDefault === undefined && asked >= 0 ? asked : Math.max(asked, unasked);
  return { inputTokens, outputTokens: each * Math.max(1, countOf(body.n) ?? 1) };
}

/** A whole number that a client gave; no other one is believed. */
const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
