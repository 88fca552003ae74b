import type { Duplex } from 'node:stream';
import type { Transport } from '@modelcontextprotocol/client';
import { parseJSONRPCMessage, serializeMessage } from '@modelcontextprotocol/client';
import { Failure } from '#shared/errors.ts';
import { parseExact } from '#shared/exact-json.ts';
import { createMeter } from './flood.ts';

const lineBytesMax = 4 * 1024 ** 2;
const unreadBytesMax = 8 * 1024 ** 2;
const linesPerSecondMax = 1_000;
const newline = 0x0a;

/** How a stdio server is started: in the sandbox. */
export type McpProcess = {
  /** Its standard input and output. */
  stream: Duplex;
  /** Settles when it has ended, with why. */
  ended: Promise<string>;
  kill(): void;
};

/** A message a line, over a process's standard input and output. `broken` hears why the server is not listened to any longer. */
export function openStdio(process: McpProcess, broken: (failure: Failure) => void): Transport {
  const { stream } = process;
  const tooMany = createMeter(linesPerSecondMax);
  let closed = false;

  // `stderr` and `pid` are how the SDK tells a process from an address: one that does not answer its first question speaks the older protocol.
  const transport: Transport & { stderr: null; pid: null } = {
    stderr: null,
    pid: null,
    async start() {
      stream.on('data', (chunk: Buffer) => read(chunk));
    },
    async send(message) {
      if (closed) throw new Failure('unavailable', 'it has ended');
      if (stream.writableLength > unreadBytesMax) throw flood('does not read what it is sent');
      stream.write(serializeMessage(message));
    },
    async close() {
      if (closed) return;
      closed = true;
      stream.destroy();
      process.kill();
      transport.onclose?.();
    },
  };
  const close = () => void transport.close();
  const flood = (what: string): Failure => {
    const failure = new Failure('limited', `it ${what}`);
    if (!closed) broken(failure);
    close();
    return failure;
  };
  const read = splitLines(
    (line) => {
      if (closed) return;
      if (!tooMany(1)) flood(`says more than ${linesPerSecondMax} lines a second`);
      else hear(line);
    },
    () => flood(`says a line of more than ${lineBytesMax} bytes`),
  );
  const hear = (line: string) => {
    let message: ReturnType<typeof parseJSONRPCMessage>;
    try {
      message = parseJSONRPCMessage(parseExact(line, (field) => field === 'structuredContent'));
    } catch {
      return; // Programs print all kinds of things; what is no message is none of ours.
    }
    transport.onmessage?.(message);
  };
  stream.on('error', close).on('end', close).on('close', close);
  void process.ended.then(close, close);
  return transport;
}

function splitLines(line: (text: string) => void, tooLong: () => void): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let bytes = 0;
  const add = (part: Buffer) => {
    parts.push(part);
    bytes += part.byteLength;
    return bytes <= lineBytesMax;
  };
  return (chunk) => {
    let from = 0;
    for (let at = chunk.indexOf(newline); at >= 0; at = chunk.indexOf(newline, from)) {
      if (!add(chunk.subarray(from, at))) return tooLong();
      const text = Buffer.concat(parts).toString('utf8').trimEnd();
      parts = [];
      bytes = 0;
      from = at + 1;
      line(text);
    }
    return add(chunk.subarray(from)) ? undefined : tooLong();
  };
}
