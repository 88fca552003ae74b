import type { IncomingMessage } from 'node:http';
import { request as open } from 'node:http';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Failure } from '#shared/errors.ts';
import type { Dialer } from './dialer.ts';
import { onwardHeaders, pairsOf } from './headers.ts';
import { authorityOf, parseTarget } from './host.ts';
import type { Routes } from './routes.ts';
import { withinSignal } from './within-signal.ts';

/** One request of this process's own; headers are a flat list of names and values. */
export type Sending = {
  method: string;
  headers: readonly string[];
  body: Uint8Array;
  signal: AbortSignal;
  idleMs?: number;
};

/** Its answer: who does not read the body to its end cancels it. */
export type Answer = {
  status: number;
  url: string;
  headers: readonly string[];
  body: AsyncIterator<Buffer, undefined>;
  cancel(reason?: unknown): void;
};

export type Send = (url: URL, sending: Sending) => Promise<Answer>;

export const bodyBytesMax = 10 * 1024 * 1024;

/** Sends requests under the rules, and follows nothing: each goes to a checked address, under TLS to the name it asked for. */
export const createSend =
  ({ routes, dialer }: { routes: Routes; dialer: Dialer }): Send =>
  async (url, sending) => {
    const isTls = url.protocol === 'https:';
    const target = isTls || url.protocol === 'http:' ? parseTarget(url.host, isTls ? 443 : 80) : undefined;
    if (!target || url.username !== '' || url.password !== '') {
      throw new Failure('invalid', 'url must begin with http:// or https://, and have no user or password');
    }
    if (sending.body.length > bodyBytesMax) throw new Failure('too-large', `a body has at most ${bodyBytesMax} bytes`);
    const { signal, idleMs } = sending;
    const route = await withinSignal(routes.find(target), signal);
    const socket = await dialer.dial(route, { signal, idleMs });
    const { host } = target;
    const servername = isIP(host) === 0 ? host : '';
    const connection = isTls ? connectTls({ socket, host, servername, ALPNProtocols: ['http/1.1'] }) : socket;
    const authority =
      target.port === (isTls ? 443 : 80) ? authorityOf(target).replace(/:\d+$/, '') : authorityOf(target);
    return exchange(url, sending, { authority, socket, connection });
  };

type Way = { authority: string; socket: Socket; connection: Socket };

function exchange(url: URL, sending: Sending, { authority, socket, connection }: Way): Promise<Answer> {
  const { method, body, signal } = sending;
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const outgoing = open({
    createConnection: () => connection,
    method,
    path: `${url.pathname}${url.search}`,
    headers: headersOf(sending, authority),
    setHost: false,
  });
  const explain = (error: unknown) => failureOf(authority, signal.aborted ? signal.reason : (socket.errored ?? error));
  let incoming: IncomingMessage | undefined;
  const abort = () => (incoming ?? outgoing).destroy(asError(signal.reason));
  signal.addEventListener('abort', abort, { once: true });
  connection.once('close', () => signal.removeEventListener('abort', abort));
  outgoing.on('error', (error) => reject(explain(error)));
  outgoing.once('response', (message) => {
    incoming = message.on('error', () => undefined);
    resolve({
      status: message.statusCode ?? 0,
      url: url.href,
      headers: message.rawHeaders,
      body: bodyOf(message, explain),
      cancel: (reason) => void message.destroy(reason === undefined ? undefined : asError(reason)),
    });
  });
  outgoing.end(body);
  if (signal.aborted) abort();
  return promise;
}

async function* bodyOf(
  message: IncomingMessage,
  explain: (error: unknown) => unknown,
): AsyncGenerator<Buffer, undefined> {
  try {
    yield* message;
  } catch (error) {
    throw explain(error);
  }
}

function headersOf({ headers, body, method }: Sending, authority: string): string[] {
  const own = onwardHeaders(headers).filter((_, at, all) => all[at - (at % 2)]?.toLowerCase() !== 'content-length');
  const has = new Set(pairsOf(own).map(([name]) => name.toLowerCase()));
  const usual = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'toka' };
  const missing = Object.entries(usual).filter(([name]) => !has.has(name));
  const length = body.length > 0 || !['GET', 'HEAD'].includes(method) ? ['content-length', String(body.length)] : [];
  return ['host', authority, ...own, ...missing.flat(), ...length];
}

const asError = (reason: unknown) => (reason instanceof Error ? reason : new Error('aborted', { cause: reason }));

/** Which host, and the error's code: its message may name addresses. */
function failureOf(authority: string, error: unknown): unknown {
  if (
    !(error instanceof Error) ||
    error instanceof Failure ||
    error.name === 'AbortError' ||
    error.name === 'TimeoutError'
  ) {
    return error;
  }
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return new Failure('upstream', `${authority}: the connection failed (${code})`, { cause: error });
}
