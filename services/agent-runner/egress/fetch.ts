import { pairsOf } from '#shared/egress/headers.ts';
import type { Send } from '#shared/egress/send.ts';
import { Failure } from '#shared/errors.ts';
import { follow } from './follow.ts';

export type FetchInit = {
  method?: string;
  headers?: Readonly<Record<string, string>>;
  body?: string | Uint8Array;
  signal: AbortSignal;
  bytesMax: number;
  timeoutMs: number;
};

export type Fetched = {
  status: number;
  /** Where it came from, after redirects. */
  url: string;
  headers: Record<string, string>;
  body: Buffer;
  /** Whether there was more than `bytesMax`. */
  truncated: boolean;
};

/** Reads one answer whole, in bounded time and size. */
export async function fetchBounded(send: Send, url: string, init: FetchInit): Promise<Fetched> {
  const { method = 'GET', headers = {}, body = '', bytesMax, timeoutMs } = init;
  const first = URL.parse(url);
  if (!first) throw new Failure('invalid', 'url must begin with http:// or https://');
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([init.signal, timeout]);
  try {
    const answer = await follow(send, first, {
      method: method.toUpperCase(),
      headers: Object.entries(headers).flat(),
      body: Buffer.from(body),
      signal,
    });
    const read = await readAtMost(answer.body, bytesMax);
    answer.cancel();
    return { status: answer.status, url: answer.url, headers: joined(answer.headers), ...read };
  } catch (error) {
    if (timeout.aborted && !init.signal.aborted) {
      throw new Failure('timeout', `${first.host}: took longer than ${timeoutMs} ms`, { cause: error });
    }
    throw error;
  }
}

async function readAtMost(body: AsyncIterator<Buffer>, bytesMax: number) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  while (bytes <= bytesMax) {
    const { done, value } = await body.next();
    if (done) break;
    chunks.push(value);
    bytes += value.length;
  }
  return { body: Buffer.concat(chunks).subarray(0, bytesMax), truncated: bytes > bytesMax };
}

function joined(raw: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (const [name, value] of pairsOf(raw)) {
    const lower = name.toLowerCase();
    headers[lower] = lower in headers ? `${headers[lower]}, ${value}` : value;
  }
  return headers;
}
