import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { end } from '../runner/process.ts';
import type { Contender } from './contender.ts';

export const portkeyVersion = '1.15.2';
/** One with which it can stream: with the newest that npm would take it answers 500 to each stream (Portkey-AI/gateway#1389). */
const honoServer = '1.13.8';
const installMsMax = 120_000;

/** Portkey's gateway from npm, kept for the next time in the user's cache: no part of this project's packages. Answers its program. */
export async function installPortkey(): Promise<string> {
  const folder = join(
    process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'),
    'toka-bench',
    `portkey-${portkeyVersion}-${honoServer}`,
  );
  const program = join(folder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js');
  if (!existsSync(program)) {
    await mkdir(folder, { recursive: true });
    const dependencies = { '@portkey-ai/gateway': portkeyVersion };
    const manifest = { private: true, dependencies, overrides: { '@hono/node-server': honoServer } };
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
    const args = ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund'];
    await promisify(execFile)('npm', args, { timeout: installMsMax });
  }
  return program;
}

/** Portkey's gateway as its own npm start runs it, without its console. It listens on all interfaces: it has no setting for that. */
export async function openPortkey(program: string, upstream: number): Promise<Contender> {
  const port = await freePort();
  const child = spawn(process.execPath, [program, '--headless', `--port=${port}`], {
    stdio: 'ignore',
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', TRUSTED_CUSTOM_HOSTS: '127.0.0.1' },
  });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => end(child));
  await eventually(() => answers(port));
  const owned = stack.move();
  return {
    port,
    headers: {
      authorization: 'Bearer sk-bench',
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `http://127.0.0.1:${upstream}/v1`,
    },
    pids: { gateway: [child.pid ?? 0] },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
