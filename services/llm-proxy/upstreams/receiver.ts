import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Marks } from '../failover/attempt.ts';
import type { Call } from '../model-call.ts';
import type { Adapter, Channel } from './adapter.ts';
import type { Receiver } from './exchange.ts';

const answerBytesMax = 32 * 1_024 * 1_024;
/** What a byte of an answer that is collected takes: itself, all of it as one, and what is read of it. */
const collectedPerByte = 3;
const passed: ReadonlySet<string> = new Set([
  'content-type',
  'retry-after',
  'retry-after-ms',
  'request-id',
  'x-request-id',
]);

/** What came of a provider's answer so far. */
export type Received = {
  /** 0: nothing came. */
  status: number;
  headers: IncomingHttpHeaders;
  /** Undefined: it is no stream. */
  channel: Channel | undefined;
  /** Whether the client has got something of the stream. */
  began: boolean;
  /** What was collected, as one. */
  bytes(): Buffer;
  /** To the client, if it is still there; false: not so fast. */
  deliver(bytes: Buffer | string): boolean;
};

/** Takes a provider's answer: a stream goes to the client as it comes, all else is collected. */
export function createReceiver(
  call: Call,
  adapter: Adapter,
  label: string,
  marks: Marks,
): Receiver & { received: Received } {
  const { response } = call;
  const parts: Buffer[] = [];
  let size = 0;
  const collect = (bytes: Buffer | string) => {
    size += bytes.length;
    if (size > answerBytesMax)
      throw new Failure('upstream', `the answer of ${label} is longer than ${answerBytesMax} bytes`);
    const { length } = bytes;
    try {
      call.memory.grow(length * collectedPerByte);
    } catch (thrown) {
      // It was paid for, and another would be as long.
      marks.sent();
      throw new Failure('upstream', `the answer of ${label} cannot be kept: ${messageOf(thrown)}`);
    }
    parts.push(typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
  };
  const received: Received = {
    status: 0,
    headers: {},
    channel: undefined,
    began: false,
    bytes: () => (parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)),
    deliver(bytes) {
      if (bytes.length === 0) return true;
      if (call.collect) collect(bytes);
      if (!received.began) begin();
      return response.destroyed || response.write(bytes);
    },
  };
  const begin = () => {
    received.began = true;
    marks.sent();
    if (response.destroyed) return;
    response.writeHead(200, { ...call.answered, 'cache-control': 'no-cache', 'x-toka-cache': call.cache });
  };
  return {
    received,
    start(status, headers, resume) {
      marks.began();
      received.status = status;
      received.headers = headers;
      call.answered = safeHeaders(headers, adapter.speaksAlike);
      const encoding = headers['content-encoding'] ?? 'identity';
      if (encoding !== 'identity') throw new Failure('upstream', `the answer of ${label} is compressed (${encoding})`);
      if (status !== 200 || !call.stream || !headers['content-type']?.includes('text/event-stream')) return;
      const channel = adapter.openChannel();
      received.channel = channel;
      call.told = channel.told;
      response.on('drain', resume).on('close', resume);
    },
    data(chunk) {
      if (received.channel) {
        marks.piece();
        return received.deliver(received.channel.push(chunk));
      }
      collect(chunk);
      return true;
    },
  };
}

/** Of the provider's headers, those that say something to a client; its limits only in its own wire. */
function safeHeaders(headers: IncomingHttpHeaders, speaksAlike: boolean): OutgoingHttpHeaders {
  const kept: OutgoingHttpHeaders = {};
  for (const name in headers) {
    const isLimit = name.startsWith('x-ratelimit-') || name.startsWith('anthropic-ratelimit-');
    if (passed.has(name) || (isLimit && speaksAlike)) kept[name] = headers[name];
  }
  return kept;
}
