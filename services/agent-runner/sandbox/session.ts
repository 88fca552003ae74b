import { once } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders } from 'node:http2';
import { connect, constants } from 'node:http2';
import type { Duplex } from 'node:stream';
import { Failure, messageOf } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import { paths } from './protocol.ts';

const egressWaiting = 8;

export type Asked = { status: number; headers: IncomingHttpHeaders; body: Buffer };
type AskOptions = {
  headers?: Record<string, string>;
  body?: Buffer | string;
  bytesMax: number;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
};

/** The runner's end of the connection to an executor. All that comes over it is bounded here, and hostile until parsed. */
export type Session = {
  /** Asks, and reads the whole answer. Throws `timeout`, `unavailable` where the sandbox has gone, `invalid` with what it refused. */
  ask(path: string, options: AskOptions): Promise<Asked>;
  /** A stream to a process in the sandbox. */
  open(path: string, headers: Record<string, string>): Duplex;
  /** Hands over each connection that a process in the sandbox opens to the outside. */
  serveEgress(serve: (connection: Duplex) => void): void;
  closed: Promise<void>;
  close(): void;
};

export function openSession(stream: Duplex): Session {
  const client: ClientHttp2Session = connect('http://sandbox', {
    createConnection: () => stream,
    settings: { initialWindowSize: 1024 ** 2, enablePush: false },
    maxSessionMemory: 64,
  });
  client.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => {
    client.once('close', () => resolve());
    stream.once('close', () => resolve());
  });
  const request = (path: string, headers: Record<string, string> = {}): ClientHttp2Stream => {
    if (client.closed || client.destroyed) throw gone();
    return client.request({ ':method': 'POST', ':path': path, ...headers });
  };
  return {
    async ask(path, { headers, body, bytesMax, timeoutMs, signal }) {
      const asked = request(path, headers);
      const failed = Promise.withResolvers<never>();
      const fail = (error: Failure) => {
        failed.reject(error);
        asked.close(constants.NGHTTP2_CANCEL);
      };
      failed.promise.catch(() => undefined);
      const timer = setTimeout(() => fail(new Failure('timeout', 'the sandbox did not answer in time')), timeoutMs);
      const interrupted = () => fail(new Failure('unavailable', 'the call was interrupted'));
      signal?.addEventListener('abort', interrupted);
      asked.on('error', () => fail(gone()));
      void closed.then(() => fail(gone()));
      try {
        signal?.throwIfAborted();
        asked.end(body);
        return await Promise.race([read(asked, bytesMax), failed.promise]);
      } catch (error) {
        asked.close(constants.NGHTTP2_CANCEL);
        throw error instanceof Failure
          ? error
          : signal?.aborted
            ? new Failure('unavailable', 'the call was interrupted')
            : gone(error);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener('abort', interrupted);
      }
    },
    open(path, headers) {
      const opened = request(path, headers);
      opened.on('error', () => undefined);
      return opened;
    },
    serveEgress(serve) {
      const wait = () => {
        if (client.closed || client.destroyed) return;
        const waiting = client.request({ ':method': 'POST', ':path': paths.egress });
        waiting.on('error', () => undefined);
        waiting.once('response', () => {
          wait();
          serve(waiting);
        });
      };
      for (let count = 0; count < egressWaiting; count++) wait();
    },
    closed,
    close() {
      client.destroy();
      stream.destroy();
    },
  };
}

const gone = (cause?: unknown) => new Failure('sandbox', 'the sandbox has gone', { cause });

async function read(asked: ClientHttp2Stream, bytesMax: number): Promise<Asked> {
  const [headers] = (await once(asked, 'response')) as [IncomingHttpHeaders & { ':status'?: number }];
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of asked as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw new Failure('too-large', `the sandbox sent more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const status = headers[':status'] ?? 0;
  if (status >= 400)
    throw new Failure(status === 400 ? 'invalid' : 'upstream', clip(messageOf(body.toString('utf8')), 2_000));
  // A stream that was cut ends like one that is whole: its length tells.
  const length = headers['content-length'];
  if (length !== undefined && Number(length) !== bytes) throw gone();
  return { status, headers, body };
}
