import type { Usage } from '#shared/contracts/llm.ts';
import type { Rule } from '../limits/rule.ts';
import type { PriceTerms } from '../wires/price-terms.ts';
import type { Traits } from './schema.ts';

/** Whom a call goes to, and which settings to check when it fails. */
export type Upstream = { label: string; keySetting: string; urlSetting: string; baseUrl: string };

/** Who serves models. It stays the same object over a reload of models.toml as long as nothing but its key changes. */
export type Endpoint = {
  name: string;
  wire: 'anthropic' | 'openai' | 'demo';
  /** Without a slash at its end; empty for the demo. */
  baseUrl: string;
  /** Whether `baseUrl` is the provider's own, and not that of somebody who speaks alike. */
  official: boolean;
  /** The key, made into a string for the one request that needs it. Throws `unavailable` once the endpoint has gone. */
  apiKey(): string | undefined;
  weight: number;
  /** For a whole call. */
  timeoutMs: number;
  /** Until the answer begins. */
  firstByteMs: number;
  /** What its failures say of it. */
  upstream: Upstream;
};

/** An endpoint to ask for a model. */
export type Target = {
  endpoint: Endpoint;
  /** As it is called upstream. */
  model: string;
  /** As we know it: for prices, metrics, ledger and limits. */
  id: string;
  /** Whether `id` is of MODELS_FILE, and not whatever somebody asked for. */
  isListed: boolean;
  traits: Traits;
  contextWindow: number | undefined;
  /** What the model puts out at most; undefined: not known. */
  maxOutputTokens: number | undefined;
  /** In US dollars; null where the price is not known, be it of the model or of the way in which it was served. */
  cost(usage: Usage): number | null;
  /** The most that a call may cost, before it is made: of the prompt all may have to be written to the cache. In US dollars, or null. */
  estimateCost(inputTokens: number, outputTokens: number, terms?: PriceTerms): number | null;
};

/** A model that can be asked here, as it is shown to clients. */
export type ListedModel = {
  id: string;
  provider: string;
  contextWindow: number | undefined;
  maxOutputTokens: number | undefined;
  /** The aliases that stand for it first. */
  aliases: readonly string[];
  endpoints: readonly string[];
};

export type Models = {
  /**
   * Whom to ask for a model, in the order in which to try: an endpoint by weight, its siblings, then each fallback. Undefined is
   * LLM_MODEL, or the provider's default. Calls with one `affinity` (a conversation's id) keep to one endpoint, which then finds
   * the prompt in its cache. Throws `not-found` or `invalid` with what would do.
   */
  targets(name: string | undefined, affinity?: string): readonly Target[];
  list(): readonly ListedModel[];
  /** Of models.toml, and RATE_LIMIT_REQUESTS. */
  rules(): readonly Rule[];
};
