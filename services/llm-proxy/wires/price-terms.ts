import type { JsonObject } from './pivot.ts';
import { regionOf, tierOf } from './usage.ts';

/** What a request asks for that changes what it costs. */
export type PriceTerms = {
  /** Undefined: the standard one. */
  tier?: string | undefined;
  /** Undefined: wherever its account has it served. */
  region?: string | undefined;
  webSearchesMax?: number | undefined;
  /** Whether some of the prompt may be written to the cache for an hour or longer. */
  keepsLong?: boolean | undefined;
};

/** What a request that names no limit is taken to search at most; neither provider has one. */
const webSearchesUnsaid = 10;

/** The terms of a request on the wire of its provider. `raw`: its bytes. */
export const priceTermsOf = (body: JsonObject, raw: Buffer): PriceTerms => ({
  tier: tierOf(body.service_tier, body.speed),
  region: regionOf(body.inference_geo),
  webSearchesMax: webSearchesMaxOf(body),
  keepsLong: mayKeepLong(raw),
});

/**
 * Anthropic's `cache_control` and OpenAI's `prompt_cache_options` both say it by a `ttl`, anywhere in the request. An escape may hide
 * the name. Source: the types of both SDKs, 2026-11-30.
 */
export const mayKeepLong = (raw: Buffer): boolean => raw.includes('"ttl"') || raw.includes('\\u00');

function webSearchesMaxOf({ tools, max_tool_calls, web_search_options }: JsonObject): number {
  const limit = countOf(max_tool_calls) ?? Number.POSITIVE_INFINITY;
  const searching = (Array.isArray(tools) ? tools : []).filter(isSearch);
  const asked = searching.reduce((sum, { max_uses }) => sum + (countOf(max_uses) ?? webSearchesUnsaid), 0);
  if (limit < Number.POSITIVE_INFINITY && searching.length > 0) return limit;
  return asked + (web_search_options ? webSearchesUnsaid : 0);
}

const isSearch = (tool: unknown): tool is JsonObject =>
  typeof tool === 'object' &&
  tool !== null &&
  'type' in tool &&
  typeof tool.type === 'string' &&
  tool.type.startsWith('web_search');

const countOf = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
