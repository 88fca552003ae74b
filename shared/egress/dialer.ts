import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { Failure } from '#shared/errors.ts';
import { closeAll } from './close-all.ts';
import type { Route } from './routes.ts';

export type Traffic = { bytesIn: number; bytesOut: number };

/** Everything that goes out passes here: connected, counted, watched for silence, and closed at the end. */
export type Dialer = {
  /** A connection to one of the route's addresses; nothing passing for `idleMs` ends it. */
  dial(route: Route, options?: { idleMs?: number; signal?: AbortSignal }): Promise<Socket>;
  traffic(): Traffic;
  [Symbol.asyncDispose](): Promise<void>;
};

const addressesMax = 4;

export function openDialer(limits: { connections: number; connectMs: number; idleMs: number }): Dialer {
  const open = new Set<Socket>();
  const past = { bytesIn: 0, bytesOut: 0 };
  let closed = false;

  const attempt = async (address: string, port: number, signal: AbortSignal) => {
    if (closed) throw shut();
    if (open.size >= limits.connections)
      throw new Failure('limited', `${limits.connections} connections are open already`);
    const socket = connect({ host: address, port, allowHalfOpen: true });
    open.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => {
      open.delete(socket);
      past.bytesIn += socket.bytesRead;
      past.bytesOut += socket.bytesWritten;
    });
    try {
      await once(socket, 'connect', { signal });
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return socket;
  };

  return {
    async dial({ host, port, addresses }, { idleMs = limits.idleMs, signal } = {}) {
      const tried = addresses.slice(0, addressesMax);
      let last: unknown;
      for (const address of tried) {
        try {
          const timeout = AbortSignal.timeout(Math.ceil(limits.connectMs / tried.length));
          const socket = await attempt(address, port, signal ? AbortSignal.any([signal, timeout]) : timeout);
          return socket.setNoDelay(true).setTimeout(idleMs, () => socket.destroy(silent(host)));
        } catch (error) {
          if (error instanceof Failure) throw error;
          signal?.throwIfAborted();
          last = error;
        }
      }
      throw unreachable(host, last);
    },
    traffic: () => ({
      bytesIn: [...open].reduce((sum, { bytesRead }) => sum + bytesRead, past.bytesIn),
      bytesOut: [...open].reduce((sum, { bytesWritten }) => sum + bytesWritten, past.bytesOut),
    }),
    async [Symbol.asyncDispose]() {
      closed = true;
      await closeAll(open, shut());
    },
  };
}

const shut = () => new Failure('unavailable', 'the way out is closed');
const silent = (host: string) => new Failure('timeout', `${host}: nothing came for too long`);

/** Which host, and why; never at which address. */
const unreachable = (host: string, cause: unknown) =>
  cause instanceof Error && cause.name === 'AbortError'
    ? new Failure('timeout', `${host}: connecting took too long`)
    : new Failure('upstream', `${host}: no connection`, { cause });
