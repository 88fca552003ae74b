import { connect, createServer } from 'node:net';
import { Failure } from '#shared/errors.ts';

const lowest = 15_000;
const highest = 32_000;
const triesMax = 100;

/** `wanted` where it is free on loopback, else a port that is. */
export const portNear = async (wanted: number): Promise<number> => (await tryPort(wanted)) ?? freePort();

/**
 * A port of loopback that nothing listens on. It lies below those that the system gives to outgoing connections: one of these
 * could take it before we do.
 */
export async function freePort(): Promise<number> {
  for (let tries = 1; tries <= triesMax; tries++) {
    const port = await tryPort(lowest + Math.floor(Math.random() * (highest - lowest)));
    if (port !== undefined) return port;
  }
  throw new Failure('unavailable', `no free port was found between ${lowest} and ${highest}`);
}

function tryPort(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : undefined));
    });
  });
}

/** Whether something listens on a port of loopback. */
export const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
