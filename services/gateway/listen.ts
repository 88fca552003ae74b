import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type Koa from 'koa';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Tls } from './tls.ts';

const sweepMs = 50;
const headersMsMax = 15_000;
/** Whoever is slow is let go: by then the headers must be here, and all of the request. */
const limits = (requestMs: number) => ({
  headersTimeout: Math.min(headersMsMax, requestMs),
  requestTimeout: requestMs,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 10_000,
  maxHeaderSize: 16_384,
});
const connectionsMax = 10_000;

type ListenOptions = {
  /** The port's setting, for an error's text. */
  setting: string;
  port: number;
  host: string;
  /** How long a request may take to come in. */
  requestMs: number;
  /** How long requests at hand may take once it stops. */
  graceMs: number;
  /** Without it: plain HTTP. */
  tls?: Tls | undefined;
};

/** Serves an app. Disposing it finishes the requests at hand. Throws `invalid` with the setting's name for a port that is taken. */
export async function listen(app: Koa, { setting, port, host, requestMs, graceMs, tls }: ListenOptions) {
  const server = tls
    ? createTlsServer({ ...limits(requestMs), ...tls.options() }, app.callback())
    : createServer(limits(requestMs), app.callback());
  server.maxConnections = connectionsMax;
  if (server instanceof TlsServer) tls?.serve(server);
  // Connections that have not asked anything yet: Node does not count them as idle, but nobody waits for an answer on them.
  const silent = new Set<Socket>();
  server.on('connection', (socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  server.on('request', ({ socket }) => silent.delete(socket));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new Failure('invalid', `${setting}=${port}: ${messageOf(error)}`)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    async [Symbol.asyncDispose]() {
      const late = setTimeout(() => server.closeAllConnections(), graceMs);
      // A kept-alive connection becomes idle when its last answer is out: it must not hold us until its own timeout.
      const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of silent) socket.destroy();
      await closed;
      clearInterval(sweep);
      clearTimeout(late);
    },
  };
}
