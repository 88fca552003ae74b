import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { Usage } from '#shared/contracts/llm.ts';
import { Failure, messageOf } from '#shared/errors.ts';

const usd = z.number().nonnegative();

const Model = z.strictObject({
  id: z.string().min(1),
  provider: z.enum(['anthropic', 'openai', 'demo']),
  input_usd_per_mtok: usd,
  cached_input_usd_per_mtok: usd,
  cache_write_usd_per_mtok: usd.optional(),
  output_usd_per_mtok: usd,
  /** The prices hold for prompts up to this size; what a longer one costs is not known. */
  prompt_tokens_max: z.number().int().positive().optional(),
  /** Whether the model takes an order to call one tool; where it does not, it is asked in words. */
  forced_tools: z.boolean().default(true),
  /** Whether the model takes a temperature; where it does not, none is sent. */
  temperature: z.boolean().default(true),
  /** The reasoning effort that the model needs before it takes tools. */
  tools_reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high']).optional(),
});
type Model = z.infer<typeof Model>;
export type Traits = Pick<Model, 'forced_tools' | 'temperature' | 'tools_reasoning_effort'>;

/** What is known of models: their prices, and what they take. */
export type Models = {
  traits(provider: string, model: string): Traits;
  /** In US dollars; null where the price is not known. */
  cost(provider: string, model: string, usage: Usage): number | null;
  /** Whose a model is; undefined where it is not listed. */
  providerOf(model: string): Model['provider'] | undefined;
  /** Those that are listed. */
  list: readonly Pick<Model, 'id' | 'provider'>[];
};

/** Reads models.toml. Throws `invalid` with every problem of the file. */
export function readModels(file: string): Models {
  const models = parseModels(file);
  const find = (provider: string, name: string) =>
    models.find((model) => model.provider === provider && isOf(name, model.id));
  return {
    traits: (provider, model) => find(provider, model) ?? { forced_tools: true, temperature: true },
    cost(provider, name, usage) {
      const model = find(provider, name);
      if (!model || usage.inputTokens > (model.prompt_tokens_max ?? Infinity)) return null;
      const cached = Math.min(usage.cachedInputTokens, usage.inputTokens);
      const millionths =
        (usage.inputTokens - cached) * model.input_usd_per_mtok +
        cached * model.cached_input_usd_per_mtok +
        usage.outputTokens * model.output_usd_per_mtok;
      return millionths / 1e6;
    },
    providerOf: (name) => models.find(({ id }) => isOf(name, id))?.provider,
    list: models,
  };
}

/** `gpt-5-2025-08-07` is a `gpt-5`, `gpt-5-mini` is not. */
const isOf = (name: string, id: string) =>
  name === id || (name.startsWith(id) && /^-(\d{8}|\d{4}-\d{2}-\d{2})$/.test(name.slice(id.length)));

function parseModels(file: string): Model[] {
  let value: unknown;
  try {
    value = parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Failure('invalid', `MODELS_FILE ${file} cannot be read: ${messageOf(error).split('\n')[0]}`);
  }
  const parsed = z.strictObject({ models: z.array(Model).default([]) }).safeParse(value);
  if (parsed.success) return parsed.data.models;
  const problems = parsed.error.issues.map(({ path, message }) => `MODELS_FILE ${file}: ${where(path)}: ${message}`);
  throw new Failure('invalid', problems.join('\n'));
}

/** `models[2].id`, as people count: from 1. */
const where = (path: PropertyKey[]) =>
  path
    .map((part) => (typeof part === 'number' ? `[${part + 1}]` : `.${String(part)}`))
    .join('')
    .slice(1) || 'the file';
