import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

/** A TCP relay before a server that may go, and come back elsewhere. */
export type Relay = {
  url: string;
  /** Where connections go from now on. */
  lead(url: string): void;
  /** Ends every connection at once. */
  cut(): void;
  /** The next answer, of whatever connection, is lost on its way: its request was done. */
  loseAnswer(): void;
  /** Answers come so much later from now on, in milliseconds. */
  delayAnswers(ms: number): void;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startRelay(to: string): Promise<Relay> {
  let target = new URL(to);
  let lose = false;
  let delayMs = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        other.destroy();
      });
    }
    client.on('data', (chunk) => upstream.write(chunk));
    upstream.on('data', (chunk) => {
      if (lose) {
        lose = false;
        return client.destroy();
      }
      if (delayMs > 0) return setTimeout(() => client.writable && client.write(chunk), delayMs);
      return client.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lead(url) {
      target = new URL(url);
    },
    cut,
    loseAnswer() {
      lose = true;
    },
    delayAnswers(ms) {
      delayMs = ms;
    },
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
