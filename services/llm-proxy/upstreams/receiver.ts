import type { IncomingHttpHeaders } from 'node:http';
import type { Transform } from 'node:stream';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Encoding } from '../content-encoding.ts';
import { createUnpacker, encodingOf } from '../content-encoding.ts';
import type { Marks } from '../failover/attempt.ts';
import type { Call } from '../model-call.ts';
import type { Adapter, Channel } from './adapter.ts';
import type { Receiver } from './exchange.ts';
import { headersForClient } from './headers.ts';

const answerBytesMax = 32 * 1_024 * 1_024;
/** What a byte of an answer that is collected takes: itself, all of it as one, and what is read of it. */
const collectedPerByte = 3;
/** A stream in which nothing was said yet is held back so far, and so long: what comes before is a few events, which may repeat the request. */
const heldBytesMax = 256 * 1_024;
const heldMsMax = 3_000;
/** What a provider still sends once its answer is at its end, and the client has gone: more is not worth the connection. */
const restBytesMax = 64 * 1_024;

/** What came of a provider's answer so far. */
export type Received = {
  /** 0: nothing came. */
  status: number;
  headers: IncomingHttpHeaders;
  /** Undefined: it is no stream. */
  channel: Channel | undefined;
  /** Whether the client has got something of the stream. */
  began(): boolean;
  /** What was collected, as one. */
  bytes(): Buffer;
  /** The last of a stream, with what was held back of it. */
  finish(last: Buffer | string): void;
};

/** Takes a provider's answer: a stream goes to the client as it comes once it says something, all else is collected. */
export function createReceiver(
  call: Call,
  adapter: Adapter,
  label: string,
  marks: Marks,
): Receiver & { received: Received } {
  const collected = createCollection(call, label, marks);
  const stream = createStream(call, marks, collected.add);
  let channel: Channel | undefined;
  let packing: Packing | undefined;
  let isUnread = false;
  let isSniffed = true;
  let resume = () => {};
  const received: Received = {
    ...{ status: 0, headers: {}, channel: undefined, bytes: collected.bytes },
    began: stream.began,
    finish(last) {
      if (channel) stream.deliver(last, channel);
      stream.begin();
    },
  };
  const open = () => {
    channel = adapter.openChannel();
    received.channel = channel;
    call.told = channel.told;
    call.response.on('drain', resume).on('close', resume);
  };
  const take = (chunk: Buffer): boolean => {
    if (channel) return stream.deliver(channel.push(chunk), channel);
    if (isUnread) return true;
    if (!isSniffed && isEventStream(chunk)) {
      call.answered['content-type'] = eventStream;
      received.headers = { ...received.headers, 'content-type': eventStream };
      open();
      return take(chunk);
    }
    isSniffed ||= chunk.toString('latin1').trim() !== '';
    collected.add(chunk);
    return true;
  };
  return {
    received,
    start(status, headers, go, stop) {
      marks.began();
      Object.assign(received, { status, headers });
      call.answered = headersForClient(headers, { status, speaksAlike: adapter.speaksAlike });
      const encoding = encodingOf(headers['content-encoding']);
      if (encoding && encoding !== 'unknown') packing = createPacking({ encoding, label, take, go, stop });
      // Of an error the status says enough.
      isUnread = encoding === 'unknown';
      if (isUnread && status === 200)
        throw new Failure('upstream', `the answer of ${label} is compressed (${headers['content-encoding']})`);
      resume = packing?.resume ?? go;
      if (status !== 200 || !call.stream) return;
      if (headers['content-type']?.includes(eventStream)) open();
      else isSniffed = !isUnnamed(headers['content-type']);
    },
    data: (chunk) => (packing ? packing.write(chunk) : take(chunk)),
    end: () => packing?.end(),
    close() {
      stream.close();
      packing?.close();
    },
  };
}

/** A stream on its way to the client. */
function createStream(call: Call, marks: Marks, collect: (bytes: Buffer | string) => void) {
  const { response } = call;
  let hasBegun = false;
  let restLeft = restBytesMax;
  const begin = () => {
    if (hasBegun) return;
    hasBegun = true;
    marks.sent();
    if (!response.destroyed)
      response.writeHead(200, { ...call.answered, 'cache-control': 'no-cache', 'x-toka-cache': call.cache });
    for (const part of hold.release()) if (!response.destroyed) response.write(part);
  };
  const hold = createHold(call, begin);
  return {
    began: () => hasBegun,
    begin,
    /** To the client, if it is still there; false: not so fast. */
    deliver(bytes: Buffer | string, channel: Channel): boolean {
      if (bytes.length === 0) return true;
      if (call.collect) collect(bytes);
      if (!hasBegun) {
        if (hold.keeps(bytes, channel)) return true;
        begin();
      }
      if (!response.destroyed) return response.write(bytes);
      if (channel.told.ended) restLeft -= bytes.length;
      if (restLeft < 0)
        throw new Failure('upstream', `there is more than ${restBytesMax} bytes behind the end of the answer`);
      return true;
    },
    close: hold.close,
  };
}

/** Servers that call a stream nothing, or by another name. */
const isUnnamed = (type: string | string[] | undefined): boolean =>
  type === undefined || /^(text\/plain|application\/(json|octet-stream))\b/i.test(String(type));

const eventStream = 'text/event-stream';

/** Whether bytes are the beginning of an event stream, whatever they are called: a field or a comment, as no JSON begins. */
const isEventStream = (chunk: Buffer): boolean =>
  /^(?:\xef\xbb\xbf)?\s*(?:(?:data|event|id|retry)\s*:|:)/.test(chunk.toString('latin1', 0, 100));

/** What is kept whole of an answer. */
function createCollection(call: Call, label: string, marks: Marks) {
  const parts: Buffer[] = [];
  let size = 0;
  return {
    bytes: () => (parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts)),
    add(bytes: Buffer | string) {
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
    },
  };
}

/** The beginning of a stream, until something is said in it: an error that comes first is nothing that anyone has seen, and another may answer. */
function createHold(call: Call, begin: () => void) {
  let parts: (Buffer | string)[] = [];
  let size = 0;
  let late: NodeJS.Timeout | undefined;
  return {
    /** Whether it was kept. Throws the error that comes first. */
    keeps(bytes: Buffer | string, { told }: Channel): boolean {
      if (told.saidBytes > 0) return false;
      if (told.failure) throw told.failure;
      size += bytes.length;
      if (told.ended || size > heldBytesMax || !hasRoom(call, bytes.length)) return false;
      late ??= setTimeout(begin, heldMsMax);
      parts.push(bytes);
      return true;
    },
    release() {
      clearTimeout(late);
      const all = parts;
      parts = [];
      return all;
    },
    close: () => clearTimeout(late),
  };
}

function hasRoom({ memory }: Call, bytes: number): boolean {
  try {
    memory.grow(bytes);
    return true;
  } catch {
    return false;
  }
}

type PackingOptions = {
  encoding: Encoding;
  label: string;
  take(part: Buffer): boolean;
  go(): void;
  stop(thrown: unknown): void;
};
type Packing = { write(chunk: Buffer): boolean; end(): Promise<void>; resume(): void; close(): void };

/** For a provider that compresses what was asked for as it is. What comes out is bounded as everything is, and held back as the client reads it. */
function createPacking({ encoding, label, take, go, stop }: PackingOptions): Packing {
  let unpacker: Transform | undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  const open = (first: Buffer) => {
    const made = createUnpacker(encoding, first);
    made.on('drain', go).on('end', resolve);
    made.on('error', (error) =>
      stop(new Failure('upstream', `the answer of ${label} cannot be unpacked (${encoding}): ${messageOf(error)}`)),
    );
    made.on('data', (part: Buffer) => {
      try {
        if (!take(part)) made.pause();
      } catch (thrown) {
        stop(thrown);
      }
    });
    return made;
  };
  return {
    write(chunk) {
      unpacker ??= open(chunk);
      return unpacker.write(chunk);
    },
    end() {
      if (!unpacker) return Promise.resolve();
      unpacker.end();
      return promise;
    },
    resume() {
      unpacker?.resume();
      if (!unpacker?.writableNeedDrain) go();
    },
    close: () => void unpacker?.destroy(),
  };
}
