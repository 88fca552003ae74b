import type { z } from 'zod';
import type { Endpoint } from '#shared/contracts/api/endpoint.ts';
import { Failure } from '#shared/errors.ts';
import type { Connection } from './ask.ts';
import { askPatiently } from './ask.ts';
import type { Input, Output } from './call.ts';
import { toRequest } from './call.ts';
import type { Events } from './events.ts';
import { createEvents } from './events.ts';
import { operations } from './operations.ts';

export type ClientOptions = Connection & {
  /** How long an answer may take, all tries together; 30 seconds unless it is given. */
  timeoutMs?: number;
  /** How often a call that may pass later is made again; twice unless it is given. */
  retries?: number;
};

export type CallOptions = {
  signal?: AbortSignal;
  timeoutMs?: number;
  /** Of a POST: what is sent twice with the same one is done once. One is made up unless it is given. */
  idempotencyKey?: string;
  /** Where a run is asked for: how many seconds to wait for its end. */
  waitSeconds?: number;
};

type Operation<E extends Endpoint> =
  Record<string, never> extends Input<E>
    ? (input?: Input<E>, options?: CallOptions) => Promise<Output<E>>
    : (input: Input<E>, options?: CallOptions) => Promise<Output<E>>;

/** The API as functions, typed by the schemas that the gateway checks with. */
export type Client = { [K in keyof typeof operations]: Operation<(typeof operations)[K]> } & { events: Events };

/** A client of one gateway. After a write, its queries answer with what was written: it asks for the Toka-Seq that it has seen last. */
export function createClient(options: ClientOptions): Client {
  let written = 0;
  const call = async (endpoint: Endpoint, given: Readonly<Record<string, unknown>>, each: CallOptions) => {
    const wantsSeq = 'minSeq' in endpoint.query.shape && written > 0;
    const request = toRequest(endpoint, wantsSeq ? { minSeq: written, ...given } : given);
    const isWrite = endpoint.method !== 'get';
    if (endpoint.method === 'post') request.headers.set('Idempotency-Key', each.idempotencyKey ?? newKey());
    if (each.waitSeconds) request.headers.set('Prefer', `wait=${each.waitSeconds}`);
    const { timeoutMs: plainMs = 30_000, retries = 2 } = options;
    const timeoutMs = (each.timeoutMs ?? plainMs) + (each.waitSeconds ?? 0) * 1000;
    // What was lost on its way back may have been done: only what is done once however often it is sent is sent again.
    const mayRepeat = !isWrite || endpoint.method === 'post';
    const { signal, stop } = limit(timeoutMs, each.signal);
    try {
      const response = await askPatiently(options, request, mayRepeat ? retries : 0, signal);
      if (isWrite) written = Math.max(written, Number(response.headers.get('Toka-Seq') ?? 0));
      return await read(endpoint, response, signal);
    } finally {
      stop();
    }
  };
  const calls = Object.entries(operations).map(([name, endpoint]) => [
    name,
    (input = {}, each: CallOptions = {}) => call(endpoint, input, each),
  ]);
  return { ...Object.fromEntries(calls), events: createEvents(options) };
}

async function read({ answer }: Endpoint, response: Response, signal: AbortSignal): Promise<unknown> {
  if (answer === null) return void (await response.body?.cancel());
  if ('mediaType' in answer) return response;
  const parsed = (answer as z.ZodType).safeParse(await response.json().catch(brokenOff(signal)));
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).slice(0, 5);
  throw new Failure('upstream', `the gateway's answer is not what this client knows: ${fields.join('; ')}`);
}

const brokenOff = (signal: AbortSignal) => (cause: unknown) => {
  signal.throwIfAborted();
  throw new Failure('unavailable', "the gateway's answer broke off", { cause });
};

/** A signal that is aborted with the caller's, or when the time is over; after `stop` what has begun may go on. */
function limit(timeoutMs: number, signal: AbortSignal | undefined): { signal: AbortSignal; stop(): void } {
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new Failure('timeout', `the gateway has not answered within ${timeoutMs / 1000} s`)),
    timeoutMs,
  );
  return {
    signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
    stop: () => clearTimeout(timer),
  };
}

/** Not `randomUUID`, which a page that came by plain HTTP does not have. */
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join('-');
