import type { Usage } from '#shared/contracts/llm.ts';
import type { ModelEntry } from './schema.ts';
import type { Target } from './target.ts';

type Prices = Pick<
  ModelEntry,
  | 'input_usd_per_mtok'
  | 'cached_input_usd_per_mtok'
  | 'cache_write_usd_per_mtok'
  | 'output_usd_per_mtok'
  | 'prompt_tokens_max'
>;

/** What is charged for a model, and what may be; all is null where nothing is known of it. */
export function createPricing(prices: Prices | undefined): Pick<Target, 'cost' | 'estimateCost'> {
  if (!prices) return { cost: () => null, estimateCost: () => null };
  const { input_usd_per_mtok: input, cached_input_usd_per_mtok: cached, output_usd_per_mtok: output } = prices;
  const written = prices.cache_write_usd_per_mtok ?? input;
  const promptMax = prices.prompt_tokens_max ?? Number.POSITIVE_INFINITY;
  const dearest = Math.max(input, written);
  return {
    cost({ inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens }: Usage) {
      if (inputTokens > promptMax) return null;
      const read = Math.min(cachedInputTokens, inputTokens);
      const kept = Math.min(cacheWriteTokens, inputTokens - read);
      return ((inputTokens - read - kept) * input + read * cached + kept * written + outputTokens * output) / 1e6;
    },
    estimateCost: (inputTokens, outputTokens) =>
      inputTokens > promptMax ? null : (inputTokens * dearest + outputTokens * output) / 1e6,
  };
}
