import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { limitHeadersOf } from '../../limits/limit-headers.ts';
import { toWireError } from '../../wires/errors.ts';
import type { ClientWire } from '../../wires/pivot.ts';

/** An error as the provider sent it, its headers reduced. */
type RawAnswer = { status: number; body: string; headers: OutgoingHttpHeaders };

const rawAnswers = new WeakMap<Failure, RawAnswer>();

/** Remembers what the provider itself said, for a client that speaks its wire. */
export const keepRawAnswer = (failure: Failure, raw: RawAnswer): void => void rawAnswers.set(failure, raw);

/** Sends a whole answer, if the client is still there and none has begun. */
export function send(
  response: ServerResponse,
  status: number,
  body: Buffer | string,
  headers: OutgoingHttpHeaders,
): void {
  if (response.headersSent || response.destroyed) return;
  headers['content-length'] = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
  response.writeHead(status, headers);
  response.end(body);
}

/** Sends a value as JSON. */
export const sendJson = (
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: OutgoingHttpHeaders = {},
): void => send(response, status, JSON.stringify(value), { 'content-type': 'application/json', ...headers });

/** Tells of a failure in the client's words; what the provider said in the same words goes through as it is. */
export function sendFailure(response: ServerResponse, client: ClientWire, thrown: unknown): void {
  const raw = thrown instanceof Failure ? rawAnswerOf(thrown) : undefined;
  if (raw) return void send(response, raw.status, raw.body, { ...raw.headers, ...shouldRetry(thrown) });
  const error = toWireError(thrown);
  const headers = { ...limitHeadersOf(thrown), ...retryAfter(thrown), ...shouldRetry(thrown), ...leaving(thrown) };
  sendJson(response, error.status, client.writeError({ ...error, message: scrub(error.message) }), headers);
}

/** Of the failure itself, or of the one that it sums up. */
const rawAnswerOf = (failure: Failure): RawAnswer | undefined =>
  rawAnswers.get(failure) ?? (failure.cause instanceof Failure ? rawAnswers.get(failure.cause) : undefined);

/** Both SDKs obey it before anything else. */
const shouldRetry = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.shouldRetry !== undefined ? { 'x-should-retry': String(thrown.shouldRetry) } : {};

/**
 * In whole seconds, as HTTP has it. Of a budget that is spent nothing: a client would sleep until midnight (@anthropic-ai/sdk 1.12 sleeps for
 * whatever it is told, read 2026-11-30).
 */
const retryAfter = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.retryAfterMs !== undefined && thrown.code !== 'spent'
    ? { 'retry-after': String(Math.max(1, Math.ceil(thrown.retryAfterMs / 1_000))) }
    : {};

/** Who did not send all of a request would send the rest of it as the next one. */
const leaving = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.code === 'incomplete' ? { connection: 'close' } : {};
