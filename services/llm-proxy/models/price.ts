import type { Usage } from '#shared/contracts/llm.ts';
import type { PriceTerms } from '../wires/price-terms.ts';
import type { ModelEntry } from './schema.ts';
import type { Target } from './target.ts';

type Prices = Pick<
  ModelEntry,
  | 'input_usd_per_mtok'
  | 'cached_input_usd_per_mtok'
  | 'cache_write_usd_per_mtok'
  | 'cache_write_long_usd_per_mtok'
  | 'output_usd_per_mtok'
  | 'steps'
  | 'prompt_tokens_max'
  | 'tiers'
  | 'regions'
  | 'web_search_usd_per_1k'
>;

/** For a million tokens, of one tier. `long`: undefined where its price is not known. */
type Tariff = {
  input: number;
  cached: number;
  written: number;
  long: number | undefined;
  output: number;
  promptMax: number;
};

type Pricing = Pick<Target, 'cost' | 'estimateCost'>;

const unknown: Pricing = { cost: () => null, estimateCost: () => null };

/** Where a place is no price of its own: Anthropic's words for "anywhere" and for models that do not tell. Source: its data residency page, 2026-11-30. */
const anywhere: ReadonlySet<string> = new Set(['global', 'not_available']);

/**
 * What is charged for a model, and what may be; all is null where nothing is known of it. What was served in a way whose price is not
 * known costs null, and so does an estimate of what asks for it. `place`: where its endpoint serves, if that is known.
 */
export function createPricing(prices: Prices | undefined, place?: string): Pricing {
  const standard = prices && standardTariff(prices);
  if (!standard) return unknown;
  const tiers = new Map(Object.entries(prices.tiers ?? {}).map(([name, tier]) => [name, tierTariff(standard, tier)]));
  const steps = (prices.steps ?? []).toSorted((a, b) => b.above_prompt_tokens - a.above_prompt_tokens);
  const regions = prices.regions && new Map(Object.entries(prices.regions));
  const search = prices.web_search_usd_per_1k;

  const tariffOf = (tier: string | undefined, promptTokens: number): Tariff | undefined => {
    const tariff = tier === undefined ? standard : tiers.get(tier);
    return tariff && promptTokens <= tariff.promptMax ? tariff : undefined;
  };
  const regionFactor = (region: string | undefined): number | undefined =>
    !regions || region === undefined || anywhere.has(region) ? 1 : regions.get(region);
  const dearestRegion = Math.max(1, ...(regions?.values() ?? []));
  const searchUsd = (searches: number): number | undefined =>
    searches === 0 ? 0 : search === undefined ? undefined : (searches * search) / 1_000;

  return {
    cost(usage: Usage) {
      const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens, cacheWriteLongTokens = 0 } = usage;
      const tariff = tariffOf(usage.tier, inputTokens);
      const factor = regionFactor(usage.region ?? place);
      const searched = searchUsd(usage.webSearches ?? 0);
      const read = Math.min(cachedInputTokens, inputTokens);
      const written = Math.min(cacheWriteTokens, inputTokens - read);
      const long = Math.min(cacheWriteLongTokens, written);
      const longPrice = long === 0 ? 0 : tariff?.long;
      if (!tariff || factor === undefined || searched === undefined || longPrice === undefined) return null;
      const step = steps.find(({ above_prompt_tokens: above }) => inputTokens > above);
      const input =
        (inputTokens - read - written) * tariff.input +
        read * tariff.cached +
        (written - long) * tariff.written +
        long * longPrice;
      const tokens = input * (step?.input_factor ?? 1) + outputTokens * tariff.output * (step?.output_factor ?? 1);
      return exact(tokens * factor, searched);
    },
    estimateCost(inputTokens, outputTokens, { tier, region, webSearchesMax = 0, keepsLong = false }: PriceTerms = {}) {
      const first = tariffOf(undefined, inputTokens);
      // What is asked for may not be had, and is then served in the standard way.
      const asked = tier === undefined ? first : tariffOf(tier, inputTokens);
      const where = region ?? place;
      const factor = where === undefined ? dearestRegion : regionFactor(where);
      const searched = searchUsd(webSearchesMax);
      if (!first || !asked || factor === undefined || searched === undefined) return null;
      const inputs = [first, asked].map((tariff) => dearestInput(tariff, keepsLong));
      const reached = steps.filter(({ above_prompt_tokens: above }) => inputTokens > above);
      const input = Math.max(...inputs) * Math.max(1, ...reached.map((step) => step.input_factor));
      const output = Math.max(first.output, asked.output) * Math.max(1, ...reached.map((step) => step.output_factor));
      const usd = exact((inputTokens * input + outputTokens * output) * factor, searched);
      return Number.isFinite(usd) ? usd : null;
    },
  };
}

/** Without the noise of binary fractions: of the millionth part of what is written in models.toml no more than its sixth place counts. */
const exact = (tokenPrices: number, usd: number): number => Math.round(tokenPrices * 1e6 + usd * 1e12) / 1e12;

function standardTariff(prices: Prices): Tariff | undefined {
  const {
    input_usd_per_mtok: input,
    cached_input_usd_per_mtok: cached,
    output_usd_per_mtok: output,
    cache_write_usd_per_mtok: written,
    cache_write_long_usd_per_mtok: long,
  } = prices;
  if (input === undefined || cached === undefined || output === undefined) return undefined;
  return {
    ...{ input, cached, output, written: written ?? input },
    long: long ?? (written === undefined ? input : undefined),
    promptMax: prices.prompt_tokens_max ?? Number.POSITIVE_INFINITY,
  };
}

function tierTariff(standard: Tariff, tier: NonNullable<Prices['tiers']>[string]): Tariff | undefined {
  const { factor, ...own } = typeof tier === 'number' ? { factor: tier } : tier;
  const promptMax = Math.min(standard.promptMax, own.prompt_tokens_max ?? Number.POSITIVE_INFINITY);
  if (factor === undefined) {
    const tariff = standardTariff(own);
    return tariff && { ...tariff, promptMax };
  }
  const { input, cached, written, long, output } = standard;
  return {
    ...{ input: input * factor, cached: cached * factor, written: written * factor, output: output * factor },
    ...{ long: long === undefined ? undefined : long * factor, promptMax },
  };
}

/** Infinite where what may be written has no known price. */
function dearestInput({ input, cached, written, long }: Tariff, keepsLong: boolean): number {
  return Math.max(input, cached, written, keepsLong ? (long ?? Number.POSITIVE_INFINITY) : 0);
}
