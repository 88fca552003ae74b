import type { ClientRequest, IncomingMessage, ServerResponse } from 'node:http';
import { request as open } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import type { Dialer } from '#shared/egress/dialer.ts';
import { onwardHeaders } from '#shared/egress/headers.ts';
import type { Target } from '#shared/egress/host.ts';
import { parseTarget } from '#shared/egress/host.ts';
import type { Route, Routes } from '#shared/egress/routes.ts';
import { Failure } from '#shared/errors.ts';
import { answerFailure } from './answer.ts';

type Options = { routes: Routes; dialer: Dialer; headerBytesMax: number };

/** Hands one plain request on. `tunnel`: it came through a CONNECT to that route, so it names a path only. */
export async function forward(
  request: IncomingMessage,
  response: ServerResponse,
  tunnel: Route | undefined,
  { routes, dialer, headerBytesMax }: Options,
): Promise<void> {
  const { target, path } = tunnel ? pathOf(request, tunnel) : absoluteOf(request, routes);
  const [host, ...more] = request.headersDistinct.host ?? [];
  const meant = host === undefined || more.length > 0 ? undefined : parseTarget(host, 80);
  if (meant?.host !== target.host || meant.port !== target.port) {
    throw routes.deny(target, 'the Host header names another host than the request is for.');
  }
  const socket = await dialer.dial(tunnel ?? (await routes.find(target)));
  if (response.destroyed) return void socket.destroy();
  const outgoing = open({
    createConnection: () => socket,
    method: request.method,
    path,
    headers: headersOf(request, host ?? ''),
    setHost: false,
    maxHeaderSize: headerBytesMax,
  });
  exchange(request, response, outgoing, socket);
}

/** Of "GET http://host:port/path" where it leads, and what to ask for there. */
function absoluteOf(request: IncomingMessage, routes: Routes): { target: Target; path: string } {
  const [, authority, rest = ''] = /^http:\/\/([^/?#]*)([^#]*)/i.exec(request.url ?? '') ?? [];
  if (authority === undefined) {
    throw new Failure('invalid', 'This is a proxy: ask for http://host/path, or open a tunnel with CONNECT host:port.');
  }
  const target = parseTarget(authority, 80);
  if (!target) throw routes.denyUnreadable(authority);
  return { target, path: rest.startsWith('/') ? rest : `/${rest}` };
}

function pathOf({ url = '' }: IncomingMessage, target: Target): { target: Target; path: string } {
  if (!url.startsWith('/')) throw new Failure('invalid', 'A request in a tunnel names a path only.');
  return { target, path: url };
}

function headersOf(request: IncomingMessage, host: string): string[] {
  // A body that came in chunks goes on in chunks; any other has its length.
  const chunks = request.headers['transfer-encoding'] === undefined ? [] : ['Transfer-Encoding', 'chunked'];
  return ['Host', host, ...onwardHeaders(request.rawHeaders), ...chunks];
}

function exchange(request: IncomingMessage, response: ServerResponse, outgoing: ClientRequest, socket: Socket): void {
  const fail = (error: unknown) => {
    request.unpipe(outgoing);
    outgoing.destroy();
    answerFailure(response, socket.errored instanceof Failure ? socket.errored : error);
  };
  outgoing.on('error', fail);
  outgoing.once('response', (incoming) => {
    response.sendDate = false;
    try {
      response.writeHead(incoming.statusCode ?? 502, onwardHeaders(incoming.rawHeaders));
    } catch (error) {
      return fail(error);
    }
    response.flushHeaders();
    pipeline(incoming, response, () => outgoing.destroy());
  });
  response.once('close', () => outgoing.destroy());
  request.on('error', () => outgoing.destroy());
  request.pipe(outgoing);
}
