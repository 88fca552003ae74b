import { z } from 'zod';

const name = z.string().min(1).max(200);
const usd = z.number().nonnegative();
const seconds = z.number().min(0.1).max(3_600);

/** A name that `endpoint/model` can begin with, and that a metric's label can hold. */
const endpointName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_.-]{0,63}$/, 'must be small letters, digits, "-", "_" and ".", at most 64 of them');

/** Who serves models, beside the two that the environment gives. */
export const EndpointEntry = z.strictObject({
  name: endpointName,
  wire: z.enum(['anthropic', 'openai']),
  base_url: z
    .url({ protocol: /^https?$/, error: 'must be a URL that begins with http:// or https://' })
    .refine((url) => !/[?#]/.test(url), 'must have neither "?" nor "#"'),
  /** Capitals alone: what is a key by mistake is seldom so, and is then not taken for a name that may be shown. */
  api_key: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]{0,127}$/, 'must be the name of the variable that holds the key, such as OPENAI_EU_KEY')
    .optional(),
  /** Its share of the calls among the endpoints of a model; 0: only when the others have failed. */
  weight: z.number().min(0).max(1_000).default(1),
  timeout: seconds.optional(),
  first_byte_timeout: seconds.optional(),
});
export type EndpointEntry = z.infer<typeof EndpointEntry>;

const factor = z.number().positive().max(1_000);
const tokens = z.number().int().positive();

/** Prices for a million tokens. */
const prices = {
  input_usd_per_mtok: usd.optional(),
  cached_input_usd_per_mtok: usd.optional(),
  /** What is written to the provider's prompt cache; without it: as other input. */
  cache_write_usd_per_mtok: usd.optional(),
  /** What is written to be kept for an hour or longer; without it, and with the one above: not known. */
  cache_write_long_usd_per_mtok: usd.optional(),
  output_usd_per_mtok: usd.optional(),
};
type Prices = { [name in keyof typeof prices]?: number | undefined };

const threePrices = ['input_usd_per_mtok', 'cached_input_usd_per_mtok', 'output_usd_per_mtok'] as const;
const missingOf = (given: Prices) => threePrices.filter((price) => given[price] === undefined);

const tierIs = 'must be a factor such as 0.5, or { factor or three prices of its own, and prompt_tokens_max }';
/** What a tier costs: a factor on the standard prices, or prices of its own. */
const Tier = z.union(
  [
    factor,
    z
      .strictObject({ factor: factor.optional(), ...prices, prompt_tokens_max: tokens.optional() })
      .refine((tier) => missingOf(tier).length === (tier.factor === undefined ? 0 : 3), tierIs),
  ],
  tierIs,
);

/** Prices of longer prompts, as factors on those of shorter ones. The whole call costs so. */
const Step = z.strictObject({
  above_prompt_tokens: tokens,
  /** On all that is read, from the cache too, and on what is written to it. */
  input_factor: factor.default(1),
  output_factor: factor.default(1),
});

const ModelFields = z.strictObject({
  id: name,
  /** Whose it is. Without `endpoints`, the endpoint of this name serves it. */
  provider: z.enum(['anthropic', 'openai', 'demo']),
  endpoints: z.array(z.string()).min(1).max(50).optional(),
  /** The name that is sent to the endpoint. */
  upstream_id: name.optional(),
  /** Who answers when none of the endpoints does. */
  fallbacks: z.array(name).max(20).default([]),
  context_window: tokens.optional(),
  max_output_tokens: tokens.optional(),
  ...prices,
  steps: z.array(Step).max(10).optional(),
  /** The prices hold for prompts up to this size; what a longer one costs is not known. */
  prompt_tokens_max: tokens.optional(),
  /** By the tier's name; one that is not here has no known price. */
  tiers: z.record(name, Tier).optional(),
  /** Factors by where a call is served. Without it: the same everywhere; with it: a place that is not here has no known price. */
  regions: z.record(name, factor).optional(),
  web_search_usd_per_1k: usd.optional(),
  /** Whether the model takes an order to call one tool; where it does not, it is asked in words. */
  forced_tools: z.boolean().default(true),
  /** Whether the model takes temperature, top_p and top_k; where it does not, none of them is sent. */
  temperature: z.boolean().default(true),
  /** The reasoning effort that the model needs before it takes tools by chat completions. */
  tools_reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).optional(),
  /** The efforts that the model takes: another becomes the nearest below. Without it: all; an empty list: the model knows no effort. */
  efforts: z.array(z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'])).optional(),
  /** How a model of Anthropic's is told not to think; "none": it has no such order, and nothing is sent. */
  no_thinking: z.enum(['disabled', 'between_tools', 'none']).default('disabled'),
  /** Whether the model takes system messages in the middle; where it does not, they go as words of the user's turn. Without it: by the wire. */
  system_messages: z.boolean().optional(),
  /** Whether the model reads PDFs; where it does not, a request that has one is refused. */
  pdf: z.boolean().default(true),
  /** What a model of OpenAI's takes by its responses API alone: OpenAI is asked by that, and an endpoint that only speaks alike is not asked at all. */
  responses_only: z.enum(['tools', 'all']).optional(),
  /** Which ids of tool calls its server takes; "nine": of nine letters and digits alone, so others are shortened. Without it: by the host. */
  call_ids: z.enum(['any', 'nine']).optional(),
});

/** A model may be listed without prices: what it costs is then not known. */
export const ModelEntry = ModelFields.superRefine((entry, context) => {
  const missing = missingOf(entry);
  if (missing.length === threePrices.length) return;
  for (const price of missing) context.addIssue({ code: 'custom', path: [price], message: 'is missing' });
});
export type ModelEntry = z.infer<typeof ModelEntry>;

const whose = { by: z.enum(['endpoint', 'model', 'agent', 'workstream', 'key']), match: name };

const LimitEntry = z
  .strictObject({
    ...whose,
    requests: z.number().int().positive().optional(),
    tokens: z.number().int().positive().optional(),
    window: z.number().min(0.1).max(86_400),
  })
  .refine(({ requests, tokens }) => requests !== undefined || tokens !== undefined, 'needs requests, tokens or both');

const BudgetEntry = z.strictObject({ ...whose, usd: z.number().positive(), per: z.enum(['day', 'month']) });

/** What models.toml may hold. */
export const ModelsFile = z.strictObject({
  aliases: z
    .record(name, z.union([name, z.array(name).min(1).max(20)], "must be a model's name, or a list of up to 20"))
    .default({}),
  endpoints: z.array(EndpointEntry).max(100).default([]),
  models: z.array(ModelEntry).max(1_000).default([]),
  limits: z.array(LimitEntry).max(500).default([]),
  budgets: z.array(BudgetEntry).max(500).default([]),
});
export type ModelsFile = z.infer<typeof ModelsFile>;

/** What a model takes and what it refuses. */
export type Traits = Pick<ModelEntry, 'forced_tools' | 'temperature' | 'tools_reasoning_effort'> &
  Partial<Pick<ModelEntry, 'efforts' | 'no_thinking' | 'system_messages' | 'pdf' | 'responses_only' | 'call_ids'>>;

/** Of a model that is not listed: it is believed to take everything. */
export const openTraits: Traits = { forced_tools: true, temperature: true };
