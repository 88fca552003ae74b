import type { ServerResponse } from 'node:http';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { Failure, statusOf } from '#shared/errors.ts';

const lingerMs = 1_000;

/** The status and the short text that tell a sandboxed client what failed. */
export function sayFailure(error: unknown): { status: number; text: string } {
  // Anything that is not a Failure may name addresses.
  if (!(error instanceof Failure)) return { status: 502, text: 'The connection failed.\n' };
  return { status: statusOf[error.code], text: `${error.message}\n` };
}

/** Answers a failure on a bare connection, and ends it. */
export function refuse(connection: Duplex, error: unknown): void {
  const { status, text } = sayFailure(error);
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
  ];
  if (connection.destroyed || !connection.writable) return void connection.destroy();
  connection.end(`${head.join('\r\n')}\r\n\r\n${text}`);
  connection.resume();
  const timer = setTimeout(() => connection.destroy(), lingerMs).unref();
  connection.once('close', () => clearTimeout(timer));
}

/** Answers a failure to a request, or cuts an answer that has begun. */
export function answerFailure(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { status, text } = sayFailure(error);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
