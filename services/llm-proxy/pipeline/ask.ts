import type { Made } from '../cache/entry.ts';
import { limitNames } from '../clients/http/output-limit.ts';
import type { Marks } from '../failover/attempt.ts';
import type { Call, Parts } from '../model-call.ts';
import { unaskedOutput } from '../models/output.ts';
import type { Target } from '../models/target.ts';
import { tokensOfBytes } from '../tokens.ts';
import { mayKeepLong, priceTermsOf } from '../wires/price-terms.ts';
import { askModel } from './ask-model.ts';
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
  const question = {
    ...{ targets, signal, waitMs: 0 },
    who: {
      ...{ key: key.id, isClient: true, workstream: key.workstream ?? undefined },
      ...{ priority: 'medium' as const, rules: key.rules },
    },
    size: (target: Target) => ({ ...sizeOf(call, target), terms: termsAt(call, target) }),
  };
  try {
    const made = await askModel(parts.asker, question, (target, ended, marks) => {
      const run = runFor(target);
      call.target = target;
      call.reached = true;
      marks.reached();
      return run(ended, marks);
    });
    await recordCall(parts, call, call.told.failure);
    return made;
  } catch (thrown) {
    await recordCall(parts, call, thrown);
    throw thrown;
  }
}

/** Of the prompt a third of its bytes, which most texts do not have in tokens, and what the provider is to fetch; of the answer the most that any of its limits lets it be. */
function sizeOf(call: Call, target: Target) {
  const { raw, body, route } = call;
  if (route.kind === 'count') return { inputTokens: 0, outputTokens: 0 };
  const inputTokens = tokensOfBytes(raw.length) + unseenTokens(body);
  if (route.kind === 'embeddings') return { inputTokens, outputTokens: 0 };
  const asked = Math.max(...limitNames.map((name) => countOf(body[name]) ?? -1));
  const unasked = unaskedOutput(call, target) ?? -1;
  const each = Math.max(0, unasked, Math.min(asked, target.maxOutputTokens ?? asked));
  return { inputTokens, outputTokens: each * Math.max(1, countOf(body.n) ?? 1) };
}

/** What a translation does not carry over has no price there. */
const termsAt = ({ route, body, raw }: Call, { endpoint }: Target) =>
  route.native === endpoint.wire ? priceTermsOf(body, raw) : { keepsLong: mayKeepLong(raw) };

/** A whole number that a client gave; no other one is believed. */
const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
