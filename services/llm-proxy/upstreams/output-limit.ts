import { Failure } from '#shared/errors.ts';
import type { ModelRoute } from '../model-call.ts';
import type { JsonObject } from '../wires/pivot.ts';

/** By what a request bounds its answer: on the wires that we speak, and on servers that take their own word on them, too. */
export const limitNames = [
  ...['max_tokens', 'max_completion_tokens', 'max_output_tokens'],
  ...['n_predict', 'max_new_tokens', 'max_length'],
] as const;

/** Those that a wire has; undefined: its answers have no tokens. */
const namesOf: Record<ModelRoute['kind'], readonly string[] | undefined> = {
  chat: ['max_tokens', 'max_completion_tokens'],
  responses: ['max_output_tokens'],
  messages: ['max_tokens'],
  embeddings: undefined,
  count: undefined,
};

const budgetTokensMin = 1_024;

/** `tokens`: what each answer to the request may have at most. `body`: the request, held to that. */
export type Bounded = {
  body: JsonObject;
  tokens: number;
  /** Whether the client named no limit: the provider has to be told one. */
  isUnnamed: boolean;
  isLowered: boolean;
};

/**
 * Holds a request to LLM_MAX_OUTPUT_TOKENS, all its answers together. What asks for more is lowered, as agents' calls are, and not refused,
 * as providers do beyond what a model can: an answer that is cut off says so. Throws `invalid` for a limit that cannot be read.
 */
export function boundOutput(kind: ModelRoute['kind'], body: JsonObject, max: number): Bounded {
  const names = namesOf[kind];
  if (!names) return { body, tokens: 0, isUnnamed: false, isLowered: false };
  const tokens = Math.max(1, Math.floor(max / answersOf(kind, body, max)));
  const over = limitNames.filter((name) => (countIn(body, name) ?? 0) > tokens);
  const isUnnamed = names.every((name) => body[name] === undefined || body[name] === null);
  if (over.length === 0) return { body, tokens, isUnnamed, isLowered: false };
  const lowered = { ...body, ...Object.fromEntries(over.map((name) => [name, tokens])), ...thinkingIn(body, tokens) };
  return { body: lowered, tokens, isUnnamed, isLowered: true };
}

/**
 * A request held to what a model puts out at most, each of its answers for itself: more is what its provider refuses, and what a client
 * that knows another model by the same name asks for. The body itself where it asks for no more.
 */
export function capOutput(kind: ModelRoute['kind'], body: JsonObject, max: number | undefined): JsonObject {
  if (max === undefined || !namesOf[kind]) return body;
  const over = limitNames.filter((name) => (countIn(body, name) ?? 0) > max);
  if (over.length === 0) return body;
  return { ...body, ...Object.fromEntries(over.map((name) => [name, max])), ...thinkingIn(body, max) };
}

/** How many answers it asks for at once. */
function answersOf(kind: ModelRoute['kind'], body: JsonObject, max: number): number {
  const count = kind === 'chat' ? Math.max(1, countIn(body, 'n') ?? 1) : 1;
  if (count > max) throw invalid('n', `must be at most ${max}, for the answers share LLM_MAX_OUTPUT_TOKENS`);
  return count;
}

/** Throws where there is something that a provider may read as a number, and we do not. */
function countIn(body: JsonObject, name: string): number | undefined {
  const value = body[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid(name, 'must be a whole number, not below 0');
}

/** Anthropic's budget of thinking is a part of the answer, and has to stay below its limit. */
function thinkingIn({ thinking, max_tokens: asked }: JsonObject, tokens: number): JsonObject {
  if (typeof thinking !== 'object' || thinking === null || !('budget_tokens' in thinking)) return {};
  const { budget_tokens: budget } = thinking;
  if (typeof budget !== 'number' || budget < tokens || typeof asked !== 'number') return {};
  if (tokens <= budgetTokensMin)
    throw invalid('thinking', `cannot have a budget: no answer may have more than ${tokens} tokens here`);
  const share = Math.floor((budget * tokens) / Math.max(asked, budget));
  return { thinking: { ...thinking, budget_tokens: Math.min(tokens - 1, Math.max(budgetTokensMin, share)) } };
}

const invalid = (field: string, message: string): Failure =>
  new Failure('invalid', `${field}: ${message}`, { problems: [{ field, message }] });
