import type { RequestListener } from 'node:http';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { Failure, messageOf } from '#shared/errors.ts';

const sweepMs = 50;
const timeouts = { headersTimeout: 15_000, keepAliveTimeout: 65_000 };

export type Listening = { port: number; [Symbol.asyncDispose](): Promise<void> };

type Options = { port: number; host: string; graceMs: number; requestMs: number };

/** Serves on LLM_PORT. Disposing it finishes the requests at hand. Throws `invalid` for a port that is taken. */
export async function listen({ port, host, graceMs, requestMs }: Options, answer: RequestListener): Promise<Listening> {
  // Who reads a body is the first to give it up, and says so.
  const requestTimeout = timeouts.headersTimeout + requestMs;
  const server = createServer({ ...timeouts, requestTimeout, noDelay: true }, answer);
  // Node does not count those as idle that have not asked anything yet.
  const silent = new Set<Socket>();
  server.on('connection', (socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  server.on('request', ({ socket }) => silent.delete(socket));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => reject(new Failure('invalid', `LLM_PORT=${port}: ${messageOf(error)}`)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  return {
    port: typeof address === 'object' && address ? address.port : port,
    async [Symbol.asyncDispose]() {
      const late = setTimeout(() => server.closeAllConnections(), graceMs);
      const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of silent) socket.destroy();
      await closed;
      clearInterval(sweep);
      clearTimeout(late);
    },
  };
}
