import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';

/** What `npm start` does, as a process of its own. */
export type Launched = {
  child: ChildProcess;
  output(): string;
  code: Promise<number | null>;
  api: string;
  /** Waits until it says that it is up. */
  up(): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts it on `folder`/data with the agents of `folder`/agents.toml, on ports of its own. */
export async function launch(
  folder: string,
  args: readonly string[] = [],
  environment: Record<string, string> = {},
): Promise<Launched> {
  const names = ['PORT', 'MANAGEMENT_PORT', 'LLM_PORT', 'NATS_PORT', 'REDIS_PORT'];
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, String(await freePort())])));
  const child = spawn(process.execPath, ['shared/dev/start.ts', '--data', join(folder, 'data'), ...args], {
    env: {
      PATH: process.env.PATH,
      CONFIG_FILE: join(folder, 'agents.toml'),
      REPOSITORY_ROOTS: folder,
      ...ports,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += String(chunk)));
  const code = once(child, 'close').then(([number]: (number | null)[]) => number ?? null);
  const said = () => output;
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGINT');
    await code;
  };
  return {
    child,
    output: said,
    code,
    api: `http://127.0.0.1:${ports.PORT}`,
    async up() {
      await eventually(() => {
        if (child.exitCode !== null) throw new Error(output);
        return output.includes('Toka is up');
      }, 120_000);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
