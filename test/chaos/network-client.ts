import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** A request as the provider got it. */
export type Call = {
  /** When the last of it was there. */
  atMs: number;
  /** The port that it came through. */
  via: number;
  mark: string;
  /** How often the model had spoken before. */
  turns: number;
  forced: string | null;
};

/** The network itself stood still for a moment: the machine was busy. */
export type Stall = { atMs: number; forMs: number };

export type Order =
  | { do: 'open'; link: string; port: number }
  | { do: 'cut' | 'drop' | 'lose' | 'heal'; link: string }
  | { do: 'slow'; link: string; ms: number }
  | { do: 'take' };

export type Network = {
  pid: number;
  providerPort: number;
  /** A new way to a port; answers its own. */
  open(link: string, port: number): Promise<number>;
  harm(order: Exclude<Order, { do: 'open' | 'take' }>): Promise<void>;
  /** What came since the last time. */
  take(): Promise<{ calls: Call[]; stalls: Stall[] }>;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function startNetwork(): Promise<Network> {
  const child = fork(fileURLToPath(new URL('network.ts', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const [{ port: providerPort }] = (await once(child, 'message')) as [{ port: number }];
  const waiting = new Map<number, (answer: unknown) => void>();
  let count = 0;
  child.on('message', ({ id, answer }: { id: number; answer: unknown }) => {
    waiting.get(id)?.(answer);
    waiting.delete(id);
  });
  const ask = (order: Order) =>
    new Promise<unknown>((resolve, reject) => {
      if (!child.connected) return reject(new Error('the network has ended'));
      count += 1;
      waiting.set(count, resolve);
      child.send({ id: count, ...order });
    });
  return {
    pid: child.pid ?? 0,
    providerPort,
    open: async (link, port) => (await ask({ do: 'open', link, port })) as number,
    harm: async (order) => void (await ask(order)),
    take: async () => (await ask({ do: 'take' })) as { calls: Call[]; stalls: Stall[] },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}
