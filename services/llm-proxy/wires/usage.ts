import { z } from 'zod';
import type { Usage } from '#shared/contracts/llm.ts';
import type { JsonObject } from './pivot.ts';

const count = z
  .int()
  .nonnegative()
  .nullish()
  .transform((value) => value ?? 0);
const details = z
  .looseObject({ cached_tokens: count, cache_write_tokens: count })
  .nullish()
  .transform((value) => value ?? { cached_tokens: 0, cache_write_tokens: 0 });

/** OpenAI's chat and embeddings: the latter write nothing. */
const ChatUsage = z
  .looseObject({ prompt_tokens: z.int().nonnegative(), completion_tokens: count, prompt_tokens_details: details })
  .transform(({ prompt_tokens, completion_tokens, prompt_tokens_details: parts }) =>
    within(prompt_tokens, completion_tokens, parts.cached_tokens, parts.cache_write_tokens),
  );

const ResponsesUsage = z
  .looseObject({
    input_tokens: z.int().nonnegative(),
    output_tokens: count,
    input_tokens_details: z.looseObject({ cached_tokens: count, cache_write_tokens: count }),
  })
  .transform(({ input_tokens, output_tokens, input_tokens_details: parts }) =>
    within(input_tokens, output_tokens, parts.cached_tokens, parts.cache_write_tokens),
  );

/** Anthropic counts what was read from its prompt cache, and written to it, apart; we count it in. */
const AnthropicUsage = z
  .looseObject({
    input_tokens: count,
    output_tokens: z.int().nonnegative(),
    cache_read_input_tokens: count,
    cache_creation_input_tokens: count,
  })
  .transform(
    ({ input_tokens, output_tokens, cache_read_input_tokens: read, cache_creation_input_tokens: written }): Usage => ({
      inputTokens: input_tokens + read + written,
      outputTokens: output_tokens,
      cachedInputTokens: read,
      cacheWriteTokens: written,
    }),
  );

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

// The first that fits: each has a field that the ones after it do not.
const AnyUsage = z.union([ChatUsage, ResponsesUsage, AnthropicUsage]);

const object = (value: unknown): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;

/**
 * The tokens told in a parsed body, or in the JSON of one event, of any wire; undefined where it tells none. `sofar` is what the
 * same stream told before: Anthropic tells the input first, and in the end may tell the output only.
 */
export function usageIn(body: unknown, sofar?: Usage): Usage | undefined {
  const said = object(body);
  // A chat chunk has it at the top, Anthropic's first event in its message, a response's last event in the response.
  const told = object(said?.usage) ?? object(object(said?.message)?.usage) ?? object(object(said?.response)?.usage);
  if (!told) return undefined;
  const usage = AnyUsage.safeParse(told).data;
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
