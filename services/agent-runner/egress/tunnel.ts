import type { Duplex } from 'node:stream';
import type { Dialer } from '#shared/egress/dialer.ts';
import type { Target } from '#shared/egress/host.ts';
import { normaliseHost } from '#shared/egress/host.ts';
import type { Route, Routes } from '#shared/egress/routes.ts';
import { refuse } from './answer.ts';
import type { Opening } from './client-hello.ts';
import { readOpening } from './client-hello.ts';
import { release, tie } from './join.ts';

type Options = {
  routes: Routes;
  dialer: Dialer;
  idleMs: number;
  /** Serves a tunnel to port 80: requests whose Host is checked one by one. */
  servePlain(connection: Duplex, route: Route): void;
};

const established = 'HTTP/1.1 200 Connection Established\r\n\r\n';
/** A TLS alert: fatal, unrecognized_name. */
const alert = Buffer.from([21, 3, 3, 0, 2, 2, 112]);

/** Opens the tunnel that a CONNECT asked for. TLS stays end to end; only whom its first message names is looked at. */
export async function openTunnel(connection: Duplex, target: Target, options: Options): Promise<void> {
  const { routes, dialer, idleMs, servePlain } = options;
  const route = await routes.find(target);
  if (target.port === 80) {
    connection.write(established);
    return servePlain(connection, route);
  }
  const upstream = await dialer.dial(route);
  connection.write(established);
  tie(connection, upstream, idleMs);
  const { opening, held } = await peek(connection);
  if (connection.destroyed) return;
  const reason = complaint(target, opening);
  if (reason === undefined) return release(connection, upstream, held);
  upstream.unpipe(connection).destroy();
  const failure = routes.deny(target, reason);
  if (opening.kind === 'plain') refuse(connection, failure);
  else connection.end(alert, () => connection.destroy());
}

/** What is wrong with a tunnel that opens so; undefined: nothing. */
function complaint({ host, port }: Target, opening: Opening): string | undefined {
  switch (opening.kind) {
    case 'tls':
      if (opening.serverName === undefined || normaliseHost(opening.serverName) === host) return undefined;
      return 'the TLS client asks for another host (SNI) than the tunnel is for.';
    case 'plain':
      return port === 443 ? 'port 443 takes TLS only. Use https://.' : undefined;
    case 'broken':
    case 'more':
      return 'the TLS client does not open with a hello.';
  }
}

/** Holds the client's bytes back until they tell what they are. */
async function peek(connection: Duplex): Promise<{ opening: Opening; held: Buffer }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let held = Buffer.alloc(0);
  let opening: Opening = { kind: 'more' };
  const look = (chunk: Buffer) => {
    held = Buffer.concat([held, chunk]);
    opening = readOpening(held);
    if (opening.kind !== 'more') resolve();
  };
  const gone = () => resolve();
  connection.on('data', look).once('end', gone).once('close', gone);
  if (connection.destroyed) gone();
  await promise;
  connection.pause().off('data', look).off('end', gone).off('close', gone);
  return { opening, held };
}
