import { createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { closeAll } from '#shared/egress/close-all.ts';
import type { Dialer } from '#shared/egress/dialer.ts';
import { parseTarget } from '#shared/egress/host.ts';
import type { Route, Routes } from '#shared/egress/routes.ts';
import { Failure } from '#shared/errors.ts';
import { answerFailure, refuse } from './answer.ts';
import { forward } from './forward.ts';
import { openTunnel } from './tunnel.ts';

/** Speaks HTTP, as a proxy does, on connections that come out of a sandbox. */
export type Proxy = {
  serve(connection: Duplex): void;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = { routes: Routes; dialer: Dialer; connections: number; idleMs: number };
type Client = { requests: number; timer?: NodeJS.Timeout };

const headerBytesMax = 16 * 1024;

export function openProxy({ routes, dialer, connections, idleMs }: Options): Proxy {
  const clients = new Map<Duplex, Client>();
  const tunnels = new WeakMap<Duplex, Route>();
  // It never listens: it is handed connections.
  const server = createServer({ maxHeaderSize: headerBytesMax, keepAliveTimeout: idleMs, requestTimeout: 0 });
  let closed = false;

  /** Counts requests under way; a client with none has `idleMs` for its next. */
  const watch = (connection: Duplex, change: 0 | 1 | -1) => {
    const client = clients.get(connection);
    if (!client) return;
    client.requests += change;
    clearTimeout(client.timer);
    if (client.requests === 0) client.timer = setTimeout(() => connection.destroy(), idleMs).unref();
  };

  const servePlain = (connection: Duplex, route: Route) => {
    tunnels.set(connection, route);
    watch(connection, -1);
    server.emit('connection', connection);
  };

  server.on('request', (request, response) => {
    const connection: Duplex = request.socket;
    watch(connection, 1);
    response.on('error', () => undefined);
    response.once('close', () => watch(connection, -1));
    const options = { routes, dialer, headerBytesMax };
    forward(request, response, tunnels.get(connection), options).catch((error) => answerFailure(response, error));
  });

  server.on('connect', (request, connection, head) => {
    watch(connection, 1);
    connection.unshift(head);
    // Node reads bytes as latin1; a host in full-width digits came as UTF-8.
    const written = Buffer.from(request.url ?? '', 'latin1').toString();
    const target = parseTarget(written);
    if (tunnels.has(connection)) refuse(connection, new Failure('invalid', 'There is a tunnel already.'));
    else if (!target) refuse(connection, routes.denyUnreadable(written));
    else
      openTunnel(connection, target, { routes, dialer, idleMs, servePlain }).catch((error) =>
        refuse(connection, error),
      );
  });

  server.on('clientError', (_error, connection) =>
    refuse(connection, new Failure('invalid', 'This is no HTTP request.')),
  );

  return {
    serve(connection) {
      connection.on('error', () => undefined);
      if (closed) return void connection.destroy();
      if (clients.size >= connections) {
        return refuse(connection, new Failure('limited', `${connections} connections are open already.`));
      }
      clients.set(connection, { requests: 0 });
      connection.once('close', () => {
        clearTimeout(clients.get(connection)?.timer);
        clients.delete(connection);
      });
      watch(connection, 0);
      server.emit('connection', connection);
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await closeAll(clients.keys());
    },
  };
}
