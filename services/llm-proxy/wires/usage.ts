import type { Usage } from '#shared/contracts/llm.ts';
import type { JsonObject } from './pivot.ts';

/** A count of tokens; NaN where it is none. What is not told is 0. */
const count = (value: unknown): number =>
  value === undefined || value === null
    ? 0
    : Number.isSafeInteger(value) && Number(value) >= 0
      ? Number(value)
      : Number.NaN;

/** OpenAI's chat and embeddings: the latter write nothing. */
function readChat({ prompt_tokens, completion_tokens, prompt_tokens_details: parts }: JsonObject): Usage {
  const { cached_tokens, cache_write_tokens } = object(parts) ?? {};
  return within(count(prompt_tokens), count(completion_tokens), count(cached_tokens), count(cache_write_tokens));
}

function readResponses({ input_tokens, output_tokens, input_tokens_details: parts }: JsonObject): Usage {
  const { cached_tokens, cache_write_tokens } = object(parts) ?? {};
  return within(count(input_tokens), count(output_tokens), count(cached_tokens), count(cache_write_tokens));
}

/** Anthropic counts what was read from its prompt cache, and written to it, apart; we count it in. */
function readAnthropic(told: JsonObject): Usage {
  const [read, written] = [count(told.cache_read_input_tokens), count(told.cache_creation_input_tokens)];
  return {
    inputTokens: count(told.input_tokens) + read + written,
    outputTokens: count(told.output_tokens),
    cachedInputTokens: read,
    cacheWriteTokens: written,
  };
}

/** By the field that the others do not have. Read by hand: it is read of every call that passes through. */
function readUsage(told: JsonObject): Usage | undefined {
  const isTold = (name: string) => told[name] !== undefined && told[name] !== null;
  const usage = isTold('prompt_tokens')
    ? readChat(told)
    : isTold('input_tokens_details')
      ? readResponses(told)
      : isTold('output_tokens')
        ? readAnthropic(told)
        : undefined;
  return usage && Object.values(usage).every(Number.isSafeInteger) ? usage : undefined;
}

/** What was read and written is a part of the input, whatever a provider says. */
function within(inputTokens: number, outputTokens: number, cached: number, written: number): Usage {
  const cachedInputTokens = Math.min(cached, inputTokens);
  return {
    inputTokens,
    outputTokens,
    cachedInputTokens,
    cacheWriteTokens: Math.min(written, inputTokens - cachedInputTokens),
  };
}

const object = (value: unknown): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;

/**
 * The tokens told in a parsed body, or in the JSON of one event, of any wire; undefined where it tells none. `sofar` is what the
 * same stream told before: Anthropic tells the input first, and in the end may tell the output only.
 */
export function usageIn(body: unknown, sofar?: Usage): Usage | undefined {
  const said = object(body);
  // A chat chunk has it at the top, Anthropic's first event in its message, a response's last event in the response.
  const told = object(said?.usage) ?? object(object(said?.message)?.usage) ?? object(object(said?.response)?.usage);
  if (!told) return undefined;
  const usage = readUsage(told);
  if (!usage || !sofar) return usage;
  return usage.inputTokens >= sofar.inputTokens ? usage : { ...sofar, outputTokens: usage.outputTokens };
}

/** As OpenAI's chat tells it. */
export const writeChatUsage = ({ inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens }: Usage) => ({
  prompt_tokens: inputTokens,
  completion_tokens: outputTokens,
  total_tokens: inputTokens + outputTokens,
  prompt_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: cacheWriteTokens },
});

/** As OpenAI's responses tell it. */
export const writeResponsesUsage = ({ inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens }: Usage) => ({
  input_tokens: inputTokens,
  input_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: cacheWriteTokens },
  output_tokens: outputTokens,
  output_tokens_details: { reasoning_tokens: 0 },
  total_tokens: inputTokens + outputTokens,
});

/** As Anthropic tells it: without what was read from its prompt cache or written to it. Zeros where nothing is known yet. */
export const writeAnthropicUsage = (usage: Usage | undefined) => ({
  input_tokens: usage ? usage.inputTokens - usage.cachedInputTokens - usage.cacheWriteTokens : 0,
  cache_creation_input_tokens: usage?.cacheWriteTokens ?? 0,
  cache_read_input_tokens: usage?.cachedInputTokens ?? 0,
  output_tokens: usage?.outputTokens ?? 0,
});
