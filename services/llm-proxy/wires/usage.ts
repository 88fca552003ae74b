import type { Usage } from '#shared/contracts/llm.ts';
import type { JsonObject } from './pivot.ts';

/**
 * What was told, in parts of which each is charged by itself. What was told as nought, and what was not told at all, are different
 * where a stream tells twice.
 */
type Told = {
  /** Neither read from the prompt cache nor written to it. */
  fresh: number;
  read: number | undefined;
  written: number | undefined;
  /** Of those written, for an hour or longer. */
  long: number | undefined;
  output: number;
  reasoning: number;
  searches: number;
  tier: string | undefined;
  region: string | undefined;
};

/** A count of tokens; NaN where it is none. */
const told = (value: unknown): number | undefined =>
  value === undefined || value === null
    ? undefined
    : Number.isSafeInteger(value) && Number(value) >= 0
      ? Number(value)
      : Number.NaN;

/** What is not told is 0. */
const count = (value: unknown): number => told(value) ?? 0;

/** A count that nothing is charged by: one that cannot be read is none. */
const aside = (value: unknown): number => count(value) || 0;

const object = (value: unknown): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;

/** OpenAI's chat and embeddings: the latter write nothing. */
const readChat = (usage: JsonObject, around: JsonObject): Told =>
  readOpenAi(
    { input: usage.prompt_tokens, output: usage.completion_tokens, total: usage.total_tokens },
    object(usage.prompt_tokens_details),
    object(usage.completion_tokens_details),
    around,
  );

const readResponses = (usage: JsonObject, around: JsonObject): Told =>
  readOpenAi(
    { input: usage.input_tokens, output: usage.output_tokens, total: usage.total_tokens },
    object(usage.input_tokens_details),
    object(usage.output_tokens_details),
    around,
  );

function readOpenAi(
  counts: { input: unknown; output: unknown; total: unknown },
  inputs: JsonObject | undefined,
  outputs: JsonObject | undefined,
  around: JsonObject,
): Told {
  const input = count(counts.input);
  const reasoning = aside(outputs?.reasoning_tokens);
  // What was read and written is a part of the input, whatever a provider says.
  const read = Math.min(count(inputs?.cached_tokens), input);
  const written = Math.min(count(inputs?.cache_write_tokens), input - read);
  return {
    ...{ fresh: input - read - written, read, written },
    long: count(object(inputs?.cache_write_tokens_details)?.ttl_12h_tokens),
    output: withThinking(input, count(counts.output), reasoning, told(counts.total)),
    reasoning,
    searches: searchesIn(around.output),
    tier: tierOf(around.service_tier, undefined),
    region: undefined,
  };
}

/**
 * Some count a model's thinking beside its answer and not in it: xAI tells it in the details, Gemini's compatible endpoint in the total
 * alone. The total shows which. Source: reports of both against gateways, 2026-11-30.
 */
function withThinking(input: number, output: number, reasoning: number, total: number | undefined): number {
  const beside = (total ?? 0) - input - output;
  return beside > 0 && (reasoning === 0 || beside === reasoning) ? output + beside : output;
}

/** Of the tools that OpenAI runs, a search is charged by the piece; to open a page, or to look for something in it, is not. */
function searchesIn(output: unknown): number {
  if (!Array.isArray(output)) return 0;
  return output.filter((item) => {
    const { type, action } = object(item) ?? {};
    return type === 'web_search_call' && (object(action)?.type ?? 'search') === 'search';
  }).length;
}

/** Anthropic counts what was read from its prompt cache, and written to it, apart from the input; we count it in. */
function readAnthropic(usage: JsonObject): Told {
  const parts = object(usage.cache_creation);
  const long = told(parts?.ephemeral_1h_input_tokens);
  const written = told(usage.cache_creation_input_tokens);
  const details = object(usage.output_tokens_details);
  return {
    fresh: count(usage.input_tokens),
    read: told(usage.cache_read_input_tokens),
    written: parts ? Math.max(written ?? 0, (long ?? 0) + count(parts.ephemeral_5m_input_tokens)) : written,
    long,
    output: count(usage.output_tokens),
    reasoning: aside(details?.thinking_tokens ?? details?.reasoning_tokens),
    searches: count(object(usage.server_tool_use)?.web_search_requests),
    tier: tierOf(usage.service_tier, usage.speed),
    region: regionOf(usage.inference_geo),
  };
}

/** By the field that the others do not have. Read by hand: it is read of every call that passes through. */
function readUsage(usage: JsonObject, around: JsonObject): Told | undefined {
  const isTold = (name: string) => usage[name] !== undefined && usage[name] !== null;
  if (isTold('prompt_tokens')) return readChat(usage, around);
  if (isTold('input_tokens_details')) return readResponses(usage, around);
  return isTold('output_tokens') ? readAnthropic(usage) : undefined;
}

/**
 * The words of both providers, and of servers that speak alike, for what is served at the standard price. Source: types of both SDKs;
 * Groq's "on_demand"; 2026-11-30.
 */
const standardTiers: ReadonlySet<string> = new Set([
  ...['default', 'standard', 'auto', 'standard_only', 'on_demand', ''],
]);

/** The name of a tier that has a price of its own. OpenAI calls `priority` what is asked for as `fast`; Anthropic's `speed` is another thing. */
export function tierOf(serviceTier: unknown, speed: unknown): string | undefined {
  const tier = wordOf(serviceTier);
  if (tier !== undefined && !standardTiers.has(tier)) return tier === 'fast' ? 'priority' : tier;
  const fast = wordOf(speed);
  return fast === undefined || standardTiers.has(fast) ? undefined : fast;
}

export const regionOf = (geo: unknown): string | undefined => wordOf(geo);

/** A word that a provider, or a client, may have made up. */
const wordOf = (value: unknown): string | undefined => (typeof value === 'string' ? value.slice(0, 40) : undefined);

/**
 * What a stream told later, put together with what it told before. Anthropic tells the input first, and in the end may tell the output
 * only; others say nought in one of the two places. A count that has grown is the whole one; else what was told as more than nought stands.
 */
function merge(before: Told, now: Told): Told {
  const total = ({ fresh, read, written }: Told) => fresh + (read ?? 0) + (written ?? 0);
  const isWhole = now.read !== undefined && now.written !== undefined && total(now) >= total(before);
  const input = isWhole ? now : { fresh: now.fresh || before.fresh, ...cacheOf(before, now) };
  return {
    ...{ fresh: input.fresh, read: input.read, written: input.written, long: now.long || before.long },
    output: now.output || before.output,
    reasoning: now.reasoning || before.reasoning,
    searches: now.searches || before.searches,
    tier: now.tier ?? before.tier,
    region: now.region ?? before.region,
  };
}

const cacheOf = (before: Told, now: Told) => ({
  read: now.read || before.read,
  written: now.written || before.written,
});

function toUsage(parts: Told): Usage | undefined {
  const { fresh, output, searches, tier, region } = parts;
  const [read, written] = [parts.read ?? 0, parts.written ?? 0];
  const long = Math.min(parts.long ?? 0, written);
  const reasoning = Math.min(parts.reasoning, output);
  const counts = { inputTokens: fresh + read + written, outputTokens: output, cachedInputTokens: read };
  if (![...Object.values(counts), written, long, searches].every(Number.isSafeInteger)) return undefined;
  return {
    ...counts,
    cacheWriteTokens: written,
    ...(long > 0 ? { cacheWriteLongTokens: long } : {}),
    ...(reasoning > 0 ? { reasoningTokens: reasoning } : {}),
    ...(searches > 0 ? { webSearches: searches } : {}),
    ...(tier === undefined ? {} : { tier }),
    ...(region === undefined ? {} : { region }),
  };
}

const fromUsage = (usage: Usage): Told => ({
  fresh: usage.inputTokens - usage.cachedInputTokens - usage.cacheWriteTokens,
  read: usage.cachedInputTokens,
  written: usage.cacheWriteTokens,
  long: usage.cacheWriteLongTokens,
  output: usage.outputTokens,
  reasoning: usage.reasoningTokens ?? 0,
  searches: usage.webSearches ?? 0,
  tier: usage.tier,
  region: usage.region,
});

/**
 * The tokens told in a parsed body, or in the JSON of one event, of any wire; undefined where it tells none. `sofar` is what the
 * same stream told before.
 */
export function usageIn(body: unknown, sofar?: Usage): Usage | undefined {
  const said = object(body);
  // A chat chunk has it at the top, Anthropic's first event in its message, a response's last event in the response.
  for (const around of [said, object(said?.message), object(said?.response)]) {
    const usage = object(around?.usage);
    if (!usage || !around) continue;
    const parts = readUsage(usage, around);
    return parts && (toUsage(sofar ? merge(fromUsage(sofar), parts) : parts) ?? sofar);
  }
  return undefined;
}

/** As OpenAI's chat tells it. */
export const writeChatUsage = (usage: Usage) => ({
  prompt_tokens: usage.inputTokens,
  completion_tokens: usage.outputTokens,
  total_tokens: usage.inputTokens + usage.outputTokens,
  prompt_tokens_details: { cached_tokens: usage.cachedInputTokens, cache_write_tokens: usage.cacheWriteTokens },
  ...(usage.reasoningTokens === undefined
    ? {}
    : { completion_tokens_details: { reasoning_tokens: usage.reasoningTokens } }),
});

/** As OpenAI's responses tell it. */
export const writeResponsesUsage = (usage: Usage) => ({
  input_tokens: usage.inputTokens,
  input_tokens_details: { cached_tokens: usage.cachedInputTokens, cache_write_tokens: usage.cacheWriteTokens },
  output_tokens: usage.outputTokens,
  output_tokens_details: { reasoning_tokens: usage.reasoningTokens ?? 0 },
  total_tokens: usage.inputTokens + usage.outputTokens,
});

/** As Anthropic tells it: without what was read from its prompt cache or written to it. Zeros where nothing is known yet. */
export const writeAnthropicUsage = (usage: Usage | undefined) => ({
  input_tokens: usage ? usage.inputTokens - usage.cachedInputTokens - usage.cacheWriteTokens : 0,
  cache_creation_input_tokens: usage?.cacheWriteTokens ?? 0,
  cache_read_input_tokens: usage?.cachedInputTokens ?? 0,
  output_tokens: usage?.outputTokens ?? 0,
  ...(usage?.reasoningTokens === undefined
    ? {}
    : { output_tokens_details: { thinking_tokens: usage.reasoningTokens } }),
});
