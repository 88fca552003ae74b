import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Dispatcher } from 'undici';
import { Pool } from 'undici';

// The least that a proxy on node:http and undici can do: it looks at nothing, and passes on what comes, with back-pressure.

const pool = new Pool(process.argv[2] ?? '', { connections: 512, pipelining: 1 });
const hopByHop = new Set(['connection', 'keep-alive', 'transfer-encoding', 'host', 'content-length']);

const server = createServer((incoming, response) => {
  const parts: Buffer[] = [];
  incoming.on('data', (part: Buffer) => parts.push(part));
  incoming.on('end', () => pass(incoming, parts.length === 1 ? parts[0] : Buffer.concat(parts), response));
});

function pass(incoming: IncomingMessage, body: Buffer | undefined, response: ServerResponse): void {
  const headers: Record<string, string | string[] | undefined> = {};
  for (const [name, value] of Object.entries(incoming.headers)) if (!hopByHop.has(name)) headers[name] = value;
  pool.dispatch({ method: 'POST', path: incoming.url ?? '/', headers, body }, handlerFor(response));
}

function handlerFor(response: ServerResponse): Dispatcher.DispatchHandler {
  let upstream: Dispatcher.DispatchController | undefined;
  response.on('drain', () => upstream?.resume());
  response.on('close', () => {
    if (!response.writableFinished) upstream?.abort(new Error('the client has left'));
  });
  return {
    onRequestStart(controller) {
      upstream = controller;
    },
    onResponseStart(_, status, headers) {
      for (const name of ['connection', 'keep-alive', 'transfer-encoding']) delete headers[name];
      response.writeHead(status, headers);
    },
    onResponseData(controller, chunk) {
      if (!response.write(chunk)) controller.pause();
    },
    onResponseEnd() {
      response.end();
    },
    onResponseError() {
      if (response.headersSent) response.destroy();
      else response.writeHead(502).end();
    },
  };
}

server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }));
process.once('disconnect', () => process.exit());
