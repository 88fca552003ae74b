import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

/** One way between two processes, which can be cut, slowed and made to lose what is sent. */
export type Link = {
  port: number;
  /** Ends all connections, and refuses new ones until it is whole again. */
  cut(): void;
  /** Loses whatever is sent either way from now on. */
  drop(): void;
  /** Brings what is sent later by so much, in order. */
  slow(ms: number): void;
  /** Loses the next answer, and ends its connection. */
  lose(): void;
  /** Everything goes through again; connections that have lost something end. */
  heal(): void;
  close(): Promise<void>;
};

const waitingBytesMax = 32 * 1024 ** 2;

export async function openLink(targetPort: number): Promise<Link> {
  let state: 'open' | 'cut' | 'drop' = 'open';
  let delayMs = 0;
  let loses = false;
  const sockets = new Set<Socket>();
  const end = () => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((client) => {
    if (state === 'cut') return void client.destroy();
    const upstream = connect(targetPort, '127.0.0.1');
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('error', () => to.destroy());
      from.on('close', () => sockets.delete(from));
      const later = inOrder(() => delayMs);
      let waiting = 0;
      from.on('data', (chunk) => {
        if (state === 'drop') return;
        if (loses && from === upstream) {
          loses = false;
          client.destroy();
          upstream.destroy();
          return;
        }
        waiting += chunk.length;
        if (waiting > waitingBytesMax) from.pause();
        later(() => {
          waiting -= chunk.length;
          if (waiting <= waitingBytesMax) from.resume();
          if (to.writable) to.write(chunk);
        });
      });
      // What is under way arrives before the end does.
      from.on('end', () => later(() => to.end()));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    cut() {
      state = 'cut';
      end();
    },
    drop() {
      state = 'drop';
    },
    slow(ms) {
      delayMs = ms;
    },
    lose() {
      loses = true;
    },
    heal() {
      if (state === 'drop') end();
      state = 'open';
      delayMs = 0;
      loses = false;
    },
    async close() {
      end();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Does one thing after the other, each as late as it says when it is given; none overtakes another. */
function inOrder(delayMs: () => number): (work: () => void) => void {
  let dueMs = 0;
  return (work) => {
    const nowMs = performance.now();
    dueMs = Math.max(dueMs, nowMs + delayMs());
    if (dueMs <= nowMs) work();
    else setTimeout(work, dueMs - nowMs);
  };
}
