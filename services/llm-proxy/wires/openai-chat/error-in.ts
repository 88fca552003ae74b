import { upstreamError } from '../errors.ts';
import { isObject } from '../is-object.ts';
import type { JsonObject, WireError } from '../pivot.ts';

// What is a number is an HTTP status: vLLM, llama.cpp's server and OpenRouter have it as their `code` (2026-11-30).
const wordOf = new Map<unknown, string>([
  [400, 'invalid_request_error'],
  [408, 'timeout_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
  [529, 'overloaded_error'],
]);

const toError = ({ code, type, message, detail }: JsonObject): WireError =>
  upstreamError(
    [code, type].map((word) => wordOf.get(Number(word)) ?? word),
    message ?? detail,
  );

/**
 * The error that a chunk or a body is; undefined: it is none. OpenAI, Groq and newer vLLM have it in `error`, which elsewhere is a text;
 * older vLLM and Mistral are one by `object`, others by the event's name alone (2026-11-30).
 */
export function errorIn(data: JsonObject, name?: string): WireError | undefined {
  const { error, object, type, choices } = data;
  if (typeof error === 'string') return upstreamError([], error);
  if (isObject(error)) return toError(error);
  if (object === 'error' || type === 'error' || name === 'error') return toError(data);
  const [choice] = Array.isArray(choices) ? choices : [];
  // OpenRouter has it in the choice as well, beside the reason "error".
  return isObject(choice) && isObject(choice.error) ? toError(choice.error) : undefined;
}

const reasons = new Map<unknown, WireError>([
  // DeepSeek: "the request is interrupted due to insufficient resource of the inference system" (API reference, 2026-11-30).
  ['insufficient_system_resource', upstreamError(['overloaded_error'], 'it has not enough resources')],
  // Mistral, OpenRouter; vLLM and SGLang where the engine gave it up.
  ['error', upstreamError([], 'it stopped for an error')],
  ['abort', upstreamError([], 'it was given up')],
]);

/** The error that a `finish_reason` is. */
export const errorOfReason = (reason: unknown): WireError | undefined => reasons.get(reason);
