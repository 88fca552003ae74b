import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Webhook } from 'standardwebhooks';
import { eventually } from './eventually.ts';

export type Received = { id: string; body: string; headers: Record<string, string>; atMs: number };
type Reply = { status?: number; headers?: Record<string, string>; body?: string; delayMs?: number };

/** A receiver of webhooks on loopback, which keeps what comes. `reply` says how the nth request (from 0) is answered; undefined: never. */
export async function startReceiver(reply: (count: number, received: Received) => Reply | undefined = () => ({})) {
  const all: Received[] = [];
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk) => chunks.push(chunk));
    incoming.on('end', () => {
      const headers = Object.fromEntries(
        Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]),
      );
      const received = {
        ...{ id: headers['webhook-id'] ?? '', body: Buffer.concat(chunks).toString('utf8'), headers, atMs: Date.now() },
      };
      all.push(received);
      const answer = reply(all.length - 1, received);
      if (!answer) return;
      const { status = 204, headers: own = {}, body = '', delayMs = 0 } = answer;
      setTimeout(() => response.writeHead(status, own).end(body), delayMs);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    /** Everything that came, in order, doubles included. */
    all,
    /** What came, by the type of the event. */
    types: () => all.map(({ body }) => String(JSON.parse(body).type)),
    reasons: () => all.map(({ body }) => String(JSON.parse(body).data.reason)),
    /** Waits for so many requests. */
    async got(count: number): Promise<Received[]> {
      await eventually(() => all.length >= count);
      return all;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Throws for what was not signed with the secret, as any receiver would. */
export const verify = (secret: string, { body, headers }: Received): unknown =>
  new Webhook(secret).verify(body, headers);
