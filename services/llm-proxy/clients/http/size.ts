import type { Call } from '../../model-call.ts';
import { unaskedOutput } from '../../models/output.ts';
import type { Target } from '../../models/target.ts';
import { tokensOfBytes } from '../../tokens.ts';
import { limitNames } from '../../upstreams/output-limit.ts';
import { mayKeepLong, priceTermsOf } from '../../wires/price-terms.ts';
import { unseenTokens } from './unseen-tokens.ts';

/** What a call may take at most, and on which terms. */
export const sizeAt = (call: Call, target: Target) => ({ ...sizeOf(call, target), terms: termsAt(call, target) });

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
