import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf, statusOf } from '#shared/errors.ts';
import type { JsonObject, ProviderError, WireError } from './pivot.ts';

const said = new WeakMap<Failure, ProviderError>();

/** Remembers what the provider itself said, for a client that has classes of errors for it. */
export function keepProviderError(failure: Failure, error: ProviderError): Failure {
  said.set(failure, error);
  return failure;
}

/** What a provider said of which this failure tells, or of which it is the summary. */
export function providerErrorOf(thrown: unknown): ProviderError | undefined {
  if (!(thrown instanceof Failure)) return undefined;
  return said.get(thrown) ?? providerErrorOf(thrown.cause);
}

/** Anything thrown, as a wire tells it: what is no failure is told without its words. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof Failure)) return { status: 500, code: 'internal', message: 'something broke inside' };
  const provider = providerErrorOf(error);
  // Who asked made no mistake where the account cannot pay.
  const own = error.code === 'unpaid' && provider?.status === 400 ? undefined : provider?.status;
  const status = own ?? statusOf[error.code];
  return { status, code: error.code, message: messageOf(error), problems: error.problems, provider };
}

type Kind = 'context' | 'quota' | 'model' | 'rate' | 'overload';

/**
 * Providers' names and words for the kinds that clients act on. Anthropic: "prompt is too long: 210000 tokens > 200000 maximum", "exceed context
 * limit", `billing_error`, "credit balance is too low"; OpenAI: `context_length_exceeded`, `insufficient_quota`, `model_not_found`; vLLM and
 * llama.cpp: "maximum context length", "exceeds the available context size", without a code (both SDKs' types, 2026-11-30).
 */
function kindOf({ status, type, code, message }: ProviderError): Kind | undefined {
  const names = `${type ?? ''} ${code ?? ''}`;
  if (names.includes('context_length_exceeded') || names.includes('exceed_context_size')) return 'context';
  if (/insufficient_quota|billing|spend_limit/.test(names) || status === 402) return 'quota';
  if (status === 400 && contextWords.test(message)) return 'context';
  if (status === 400 && /credit balance is too low/i.test(message)) return 'quota';
  if (names.includes('model_not_found') || (status === 404 && /model/i.test(message))) return 'model';
  if (status === 429) return 'rate';
  return names.includes('overloaded') || status === 529 ? 'overload' : undefined;
}

const contextWords =
  /prompt is too long|maximum context length|exceeds? the (context window|available context size)|exceed context limit/i;

const openAiTypes = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'invalid_request_error'],
  [429, 'rate_limit_error'],
]);

/** Each wire's word for money that is used up, at which its clients do not try again (sources: see upstreams/billing.ts). */
const outOfMoney: ReadonlySet<string> = new Set(['spent', 'unpaid']);
const quota = 'insufficient_quota';
const spendLimit = { details: { error_code: 'enforced_spend_limit_reached' } };

/** OpenAI's own names. For an overload there is none that all clients try again: Codex gives up on `server_is_overloaded`. */
const openAiNames: Partial<Record<Kind, { type?: string; code: string }>> = {
  context: { type: 'invalid_request_error', code: 'context_length_exceeded' },
  quota: { type: 'insufficient_quota', code: 'insufficient_quota' },
  model: { type: 'invalid_request_error', code: 'model_not_found' },
  rate: { code: 'rate_limit_exceeded' },
};

/** An error body of OpenAI's wires. */
export function writeOpenAiError({ status, code, message, problems, provider }: WireError): JsonObject {
  if (outOfMoney.has(code)) return { error: { message, type: quota, code: quota, param: null } };
  const kind = provider && kindOf(provider);
  const isNoModel = status === 404 && problems?.[0]?.field === 'model';
  const names = isNoModel ? openAiNames.model : kind && openAiNames[kind];
  const type = names?.type ?? openAiTypes.get(status) ?? (status < 500 ? 'invalid_request_error' : 'server_error');
  const param = problems?.[0]?.field ?? provider?.param ?? null;
  return { error: { message, type, code: names?.code ?? provider?.code ?? provider?.type ?? code, param } };
}

/** The statuses of Anthropic's errors, and for those that it does not document the nearest of its types (ErrorType of its SDK 1.12, 2026-11-30). */
const anthropicTypes = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [408, 'timeout_error'],
  [409, 'conflict_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
]);

/**
 * The rule "no thread": told so, Anthropic's own clients go on without a thread and send the whole conversation (its SDK 1.12,
 * lib/internal/threads/ThreadState.js and ThreadUnsupportedRequestErrorDetails, 2026-11-30).
 */
const noThread = { error_code: 'thread_unsupported_request', unsupported: ['thread'] };

/** An error body of Anthropic's wire. A code, which this wire has not, stands where its own codes do. */
export function writeAnthropicError({ status, code, message, problems, provider }: WireError): JsonObject {
  const type = anthropicTypes.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  const isThread = problems?.some(({ field }) => field.split('.')[0] === 'thread') === true;
  const own = provider?.code === undefined ? {} : { details: { error_code: provider.code } };
  const details = isThread ? { details: noThread } : code === 'spent' ? spendLimit : own;
  const isTooLong = provider !== undefined && kindOf(provider) === 'context';
  return { type: 'error', error: { type, message: isTooLong ? tooLong(message) : message, ...details } };
}

/** Clients know this error of Anthropic's by its words alone, some with its numbers. */
function tooLong(message: string): string {
  if (/prompt is too long/i.test(message)) return message;
  const [, most] = /context (?:length|window|size)[^0-9]{0,40}(\d{3,9}) tokens/i.exec(message) ?? [];
  const [, has] = /(?:resulted in|requested|request has|input is)[^0-9]{0,20}(\d{3,9})/i.exec(message) ?? [];
  return `prompt is too long${most && has ? `: ${has} tokens > ${most} maximum` : ''} (${message})`;
}

const statusOfName: Record<string, number> = {
  invalid_request_error: 400,
  context_length_exceeded: 400,
  authentication_error: 401,
  invalid_api_key: 401,
  billing_error: 402,
  permission_error: 403,
  not_found_error: 404,
  model_not_found: 404,
  conflict_error: 409,
  request_too_large: 413,
  rate_limit_error: 429,
  rate_limit_exceeded: 429,
  insufficient_quota: 429,
  api_error: 500,
  server_error: 500,
  timeout_error: 504,
  overloaded_error: 529,
};

/** The status that a provider's names for an error stand for, the first known one; undefined: none of them is known. */
export const statusOfNames = (names: readonly unknown[]): number | undefined =>
  names.map((name) => statusOfName[String(name)]).find((status) => status !== undefined);

const codes = new Map<string, FailureCode>([
  ['rate_limit_error', 'limited'],
  ['rate_limit_exceeded', 'limited'],
  ['insufficient_quota', 'unpaid'],
  ['billing_error', 'unpaid'],
  ['overloaded_error', 'unavailable'],
  ['timeout_error', 'timeout'],
  // As the status 500 is, when it comes before the stream.
  ['api_error', 'unavailable'],
  ['server_error', 'unavailable'],
  ['invalid_request_error', 'invalid'],
  ['request_too_large', 'too-large'],
]);

const mayPass: ReadonlySet<string> = new Set(['limited', 'unavailable', 'timeout'] satisfies FailureCode[]);

/** An error in a stream as what ends the call. */
export function toFailure({ code, message, provider }: WireError): Failure {
  const failure = new Failure(mayPass.has(code) ? (code as FailureCode) : 'upstream', message);
  return provider ? keepProviderError(failure, provider) : failure;
}

const detailCharsMax = 500;

/** An error that a provider told in the middle of its stream. `words`: its names for the kind, the best first. */
export function upstreamError(words: readonly unknown[], message: unknown): WireError {
  const code = words.map((word) => codes.get(String(word))).find((each) => each !== undefined) ?? 'upstream';
  const text = typeof message === 'string' ? message.slice(0, detailCharsMax) : 'no reason given';
  const provider = { ...namesIn(words), status: statusOfNames(words) ?? statusOf[code], message: text };
  return { status: provider.status, code, message: `the model's provider ended the answer: ${text}`, provider };
}

/** Which of them is a type, as both wires have it, and which a code. */
function namesIn(words: readonly unknown[]): { type?: string; code?: string } {
  const names = words.filter((word) => typeof word === 'string' && word !== '' && word.length <= 100) as string[];
  const type = names.find((name) => name.endsWith('_error'));
  const code = names.find((name) => name !== type && name !== 'error');
  return { ...(type === undefined ? {} : { type }), ...(code === undefined ? {} : { code }) };
}

/** What a provider sent is no answer. */
export const broken = (message: string): WireError => ({ status: statusOf.upstream, code: 'upstream', message });

/**
 * A stream ended before the model did, and the client cannot be told by a connection that breaks as the provider's did. As an overload: of all
 * errors in the middle of a stream clients of Anthropic's try only that again (@ai-sdk/anthropic 3.0.140, opencode 1.18.33; 2026-11-30).
 */
export const tornOff = (message: string): WireError => ({ ...broken(message), status: 529 });
export const cutOff = tornOff('the answer was cut off before its end');
