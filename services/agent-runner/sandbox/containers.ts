import { randomBytes, timingSafeEqual } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Sandbox } from './start.ts';

// In compose a sandbox is a container without a network, which offers itself on a socket in a volume that it shares with the runners
// (see confine.c, --init). It says the token that both know; the runner that needs it says "!", and the executor starts.

const tokenBytesMax = 256;
const offersMax = 256;

export type Containers = {
  /** The next sandbox that offers itself. Rejects when `signal` is aborted. */
  take(signal: AbortSignal): Promise<Sandbox>;
  /** How many offer themselves now. */
  waiting(): number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Listens in `folder`, where the file `token` lies. */
export async function openContainers(folder: string, instance: string): Promise<Containers> {
  mkdirSync(folder, { recursive: true });
  const token = readFileSync(join(folder, 'token'));
  const path = join(folder, `${instance.slice(-40)}-${randomBytes(3).toString('hex')}.sock`);
  const offers = new Set<Socket>();
  const wanting = new Set<(socket: Socket) => void>();

  const server: Server = createServer((socket) => {
    let said = Buffer.alloc(0);
    socket.on('error', () => undefined).on('close', () => offers.delete(socket));
    const hear = (chunk: Buffer) => {
      said = Buffer.concat([said, chunk]);
      if (said.byteLength > tokenBytesMax || offers.size >= offersMax) return socket.destroy();
      if (said.byteLength < token.byteLength) return undefined;
      if (said.byteLength !== token.byteLength || !timingSafeEqual(said, token)) return socket.destroy();
      socket.off('data', hear);
      socket.pause();
      const [want] = wanting;
      if (!want) return offers.add(socket);
      wanting.delete(want);
      return want(socket);
    };
    socket.on('data', hear);
  });
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
  chmodSync(path, 0o660);

  return {
    async take(signal) {
      for (;;) {
        signal.throwIfAborted();
        const [offered] = offers;
        const socket = offered ?? (await nextOf(wanting, signal));
        offers.delete(socket);
        if (socket.destroyed || !socket.writable) continue;
        socket.write('!');
        return { connection: socket, pid: undefined, end: async () => void socket.destroy(), stderr: () => '' };
      }
    },
    waiting: () => offers.size,
    async [Symbol.asyncDispose]() {
      for (const socket of offers) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      if (existsSync(path)) rmSync(path);
    },
  };
}

async function nextOf(wanting: Set<(socket: Socket) => void>, signal: AbortSignal): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const leave = () => {
    wanting.delete(resolve);
    reject(signal.reason);
  };
  wanting.add(resolve);
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
