import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';

/** `npm start` as a process. */
export type Launched = {
  child: ChildProcess;
  /** What it has said so far, on both streams. */
  output(): string;
  code: Promise<number | null>;
  api: string;
  /** Waits until it says that it is up. */
  up(): Promise<void>;
  /** Stops it, where it runs still. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts everything with its data in `folder`/data and the agents of `folder`/agents.toml, on ports that are free. */
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
      NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
      CONFIG_FILE: join(folder, 'agents.toml'),
      REPOSITORY_ROOTS: folder,
      ...ports,
      ...environment,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += String(chunk)));
  const code = once(child, 'close').then(([status]: (number | null)[]) => status ?? null);
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await code;
  };
  return {
    child,
    output: () => output,
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

/** An agents.toml of one agent with two objectives, the second of which waits for the first. */
export const agents = (validation: string) => `
[[agents]]
name = "anna"
version = "1.0.0"
domain = "test"
priority = "high"
workstream = "main"
branch = "main"
[agents.capabilities]
primary = ["filesystem-read"]
secondary = ["capability3"]
[[agents.objectives]]
description = "Make an inventory"
deliverable = "inventory.md"
validation = '${validation}'
[[agents.objectives]]
id = "next"
description = "Make another"
deliverable = "next.md"
validation = "It is not empty"
depends_on = ["objective-1"]
`;

export type Mark = { name: string; pid: number };

/** The processes that a launcher has noted. */
export const childrenIn = (folder: string): Mark[] =>
  JSON.parse(readFileSync(join(folder, 'data', 'run.json'), 'utf8')).children;

export function isRunning({ pid }: Mark): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
