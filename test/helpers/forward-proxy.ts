import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request } from 'node:http';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { pipeline } from 'node:stream';

/** An HTTP proxy to which every name is this machine, so that names that nobody else knows lead somewhere through it alone. */
export type ForwardProxy = {
  url: string;
  /** What came, as its request lines: `POST http://a.test:80/v1` or `CONNECT a.test:443`. */
  lines: string[];
  /** Connections of clients that were open at one time, at most. */
  openMost(): number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Passes on both what asks for a whole URL and what asks for a tunnel. */
export async function startForwardProxy(): Promise<ForwardProxy> {
  const lines: string[] = [];
  const sockets = new Set<Socket>();
  let openMost = 0;
  const server = createServer((incoming, response) => {
    lines.push(`${incoming.method} ${incoming.url}`);
    passOn(incoming, response);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    openMost = Math.max(openMost, sockets.size);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (incoming, client: Socket, head: Buffer) => {
    lines.push(`CONNECT ${incoming.url}`);
    const upstream = connect(Number(incoming.url?.split(':').at(-1)), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      pipeline(client, upstream, client, () => undefined);
    });
    upstream.on('error', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    lines,
    openMost: () => openMost,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function passOn(incoming: IncomingMessage, response: ServerResponse): void {
  const { port, pathname, search } = new URL(incoming.url ?? '');
  const asked = {
    host: '127.0.0.1',
    port,
    path: pathname + search,
    method: incoming.method,
    headers: incoming.headers,
  };
  const upstream = request(asked, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, response, () => undefined);
  });
  upstream.on('error', () => response.destroy());
  pipeline(incoming, upstream, () => undefined);
}
