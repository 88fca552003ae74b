import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Failure } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { encodings } from '../../content-encoding.ts';
import { limitHeadersOf } from '../../limits/limit-headers.ts';
import { rawAnswerOf } from '../../upstreams/raw-answer.ts';
import { toWireError } from '../../wires/errors.ts';
import type { ClientWire } from '../../wires/pivot.ts';

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

/** Ends an answer that is not whole as a connection that breaks does: once what it has of it is out. */
export function breakOff(response: ServerResponse): void {
  if (response.socket) response.socket.destroySoon();
  else response.destroy();
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
  const said = { ...limitHeadersOf(thrown), ...retryAfter(thrown), ...shouldRetry(thrown) };
  const headers = { ...said, ...leaving(thrown), ...readable(thrown), ...named(response, client) };
  sendJson(response, error.status, client.writeError({ ...error, message: scrub(error.message) }), headers);
}

/** Both SDKs obey it before anything else. */
const shouldRetry = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.shouldRetry !== undefined ? { 'x-should-retry': String(thrown.shouldRetry) } : {};

/**
 * In whole seconds, as HTTP has it, and to the millisecond in what both SDKs read first. Of a budget that is spent nothing: a client would
 * sleep until midnight (@anthropic-ai/sdk 1.12 sleeps for whatever it is told, read 2026-11-30).
 */
function retryAfter(thrown: unknown): OutgoingHttpHeaders {
  const ms = thrown instanceof Failure && thrown.code !== 'spent' ? thrown.retryAfterMs : undefined;
  if (ms === undefined) return {};
  const whole = { 'retry-after': String(Math.max(1, Math.ceil(ms / 1_000))) };
  return ms % 1_000 === 0 ? whole : { ...whole, 'retry-after-ms': String(ms) };
}

/** Anthropic's clients look for the id of a request under its own name. */
function named(response: ServerResponse, { requestIdHeader }: ClientWire): OutgoingHttpHeaders {
  const id = response.getHeader('x-request-id');
  return id === undefined ? {} : { [requestIdHeader]: id };
}

/** What a body may come in (RFC 9110, section 12.5.3). */
const readable = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.code === 'unsupported' ? { 'accept-encoding': encodings.join(', ') } : {};

/** Who did not send all of a request would send the rest of it as the next one. */
const leaving = (thrown: unknown): OutgoingHttpHeaders =>
  thrown instanceof Failure && thrown.code === 'incomplete' ? { connection: 'close' } : {};
