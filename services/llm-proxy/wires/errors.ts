import type { FailureCode } from '#shared/errors.ts';
import { Failure, messageOf, statusOf } from '#shared/errors.ts';
import type { JsonObject, WireError } from './pivot.ts';

/** Anything thrown, as a wire tells it: what is no failure is told without its words. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof Failure)) return { status: 500, code: 'internal', message: 'something broke inside' };
  return { status: statusOf[error.code], code: error.code, message: messageOf(error), problems: error.problems };
}

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

/** An error body of OpenAI's wires. */
export function writeOpenAiError({ status, code, message, problems }: WireError): JsonObject {
  if (outOfMoney.has(code)) return { error: { message, type: quota, code: quota, param: null } };
  const type = openAiTypes.get(status) ?? (status < 500 ? 'invalid_request_error' : 'server_error');
  return { error: { message, type, code, param: problems?.[0]?.field ?? null } };
}

const anthropicTypes = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [402, 'billing_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
]);

/** An error body of Anthropic's wire. */
export function writeAnthropicError({ status, code, message }: WireError): JsonObject {
  const type = anthropicTypes.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  return { type: 'error', error: { type, message, ...(code === 'spent' ? spendLimit : {}) } };
}

const codes = new Map<string, FailureCode>([
  ['rate_limit_error', 'limited'],
  ['rate_limit_exceeded', 'limited'],
  ['insufficient_quota', 'unpaid'],
  ['billing_error', 'unpaid'],
  ['overloaded_error', 'unavailable'],
  ['timeout_error', 'timeout'],
  ['invalid_request_error', 'invalid'],
  ['request_too_large', 'too-large'],
]);

const detailCharsMax = 500;

/** An error that a provider told in the middle of its stream. `words`: its names for the kind, the best first. */
export function upstreamError(words: readonly unknown[], message: unknown): WireError {
  const code = words.map((word) => codes.get(String(word))).find((each) => each !== undefined) ?? 'upstream';
  const said = typeof message === 'string' ? message.slice(0, detailCharsMax) : 'no reason given';
  return { status: statusOf[code], code, message: `the model's provider ended the answer: ${said}` };
}

/** What a provider sent is no answer. */
export const broken = (message: string): WireError => ({ status: statusOf.upstream, code: 'upstream', message });

/** A stream ended before the model did. */
export const cutOff = broken('the answer was cut off before its end');
