import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';

/** A TCP proxy in front of NATS that acts at an exact point: when the client publishes its n-th event of a run. */
export type FaultProxy = {
  url: string;
  /** Publishes of run events so far. */
  count(): number;
  /** `before`: the n-th publish from now on never reaches NATS; `after`: it does, but its acknowledgement does not come back. */
  arm(n: number, when: 'before' | 'after', hit: () => void): void;
  /** Whether it waited in vain; from then on it does not. */
  disarm(): boolean;
  [Symbol.asyncDispose](): Promise<void>;
};

const publish = Buffer.from('HPUB toka.events.run.');

/** Counts by the protocol's own lines; a client that is hit hears nothing more. */
export async function startFaultProxy(port: number): Promise<FaultProxy> {
  let count = 0;
  let armed: { at: number; when: 'before' | 'after'; hit: () => void } | undefined;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    let cut = false;
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    upstream.on('data', (chunk) => void (cut || client.write(chunk)));
    client.on('data', (chunk: Buffer) => {
      if (cut) return;
      for (let from = chunk.indexOf(publish); from >= 0; from = chunk.indexOf(publish, from + 1)) {
        count += 1;
        if (armed?.at !== count) continue;
        cut = true;
        const { when, hit } = armed;
        armed = undefined;
        if (when === 'before') upstream.write(chunk.subarray(0, from));
        else upstream.write(chunk);
        setTimeout(hit, 30); // by then NATS has what it was given
        return;
      }
      upstream.write(chunk);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    url: `nats://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`,
    count: () => count,
    arm(n, when, hit) {
      armed = { at: count + n, when, hit };
    },
    disarm() {
      const waited = armed !== undefined;
      armed = undefined;
      return waited;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
