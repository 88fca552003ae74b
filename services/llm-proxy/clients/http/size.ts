import type { Call, Parts } from '../../model-call.ts';
import type { Target } from '../../models/target.ts';
import { tokensOfBytes } from '../../tokens.ts';
import { limitNames } from '../../upstreams/output-limit.ts';
import { unseenTokens } from './unseen-tokens.ts';

type Sized = Pick<Call, 'raw' | 'body' | 'route' | 'outputDefault'>;

/** Of the prompt a third of its bytes, which most texts do not have in tokens, and what the provider is to fetch; of the answer the most that any of its limits lets it be. */
export function sizeOf(
  { maxOutputTokens }: Pick<Parts, 'maxOutputTokens'>,
  { raw, body, route, outputDefault }: Sized,
  target: Target,
) {
  if (route.kind === 'count') return { inputTokens: 0, outputTokens: 0 };
  const inputTokens = tokensOfBytes(raw.length) + unseenTokens(body);
  if (route.kind === 'embeddings') return { inputTokens, outputTokens: 0 };
  const most = outputDefault ?? maxOutputTokens;
  const asked = Math.max(...limitNames.map((name) => countOf(body[name]) ?? -1));
  const unasked = Math.min(target.maxOutputTokens ?? most, most);
  const each = outputDefault === undefined && asked >= 0 ? asked : Math.max(asked, unasked);
  const answers = Math.max(1, countOf(body.n) ?? 1);
  return { inputTokens, outputTokens: Math.min(each, target.maxOutputTokens ?? each) * answers };
}

/** A whole number that a client gave; no other one is believed. */
const countOf = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
