import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Passwords } from '#shared/bus/users.ts';
import { authorization, logAccount } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import type { Home } from './home.ts';
import { answers, portNear } from './ports.ts';
import { endChild } from './processes.ts';

const readyMsMax = 30_000;
const stopMsMax = 15_000;

export type Server = {
  port: number;
  url: string;
  /** Ends it at once. */
  kill(): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/** `port`: as configured; undefined: the usual one, or one that is free. */
type ServerOptions = { password: string; port: number | undefined };

/** A nats-server with JetStream on disk under the data folder, for this machine alone and with a user for each service. */
export async function startNats(
  home: Home,
  { passwords, port: wanted }: { passwords: Passwords; port: number | undefined },
  gone: (name: string) => void,
): Promise<Server> {
  const port = wanted ?? (await portNear(4222));
  const file = join(home.path, 'nats.conf');
  bringStreamsOver(join(home.path, 'nats', 'jetstream'));
  const lines = [
    `listen: "127.0.0.1:${port}"`,
    'max_payload: 8388608',
    `jetstream { store_dir: ${JSON.stringify(join(home.path, 'nats'))} }`,
    authorization(passwords),
  ];
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return startServer(home, 'nats-server', ['-c', file], `nats://127.0.0.1:${port}`, port, gone);
}

/** Earlier versions kept the streams in the account that a server has by itself. */
function bringStreamsOver(folder: string): void {
  const former = join(folder, '$G');
  const now = join(folder, logAccount);
  if (existsSync(former) && !existsSync(now)) renameSync(former, now);
}

/** A redis-server that keeps its data in the data folder, for this machine alone and with a password. */
export async function startRedis(
  home: Home,
  { password, port: wanted }: ServerOptions,
  gone: (name: string) => void,
): Promise<Server> {
  const port = wanted ?? (await portNear(6379));
  const file = join(home.path, 'redis.conf');
  const folder = join(home.path, 'redis');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lines = [
    'bind 127.0.0.1',
    `port ${port}`,
    `dir ${JSON.stringify(folder)}`,
    'appendonly yes',
    'save ""',
    `requirepass ${password}`,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
  return startServer(home, 'redis-server', [file], `redis://127.0.0.1:${port}`, port, gone);
}

async function startServer(
  home: Home,
  program: string,
  args: string[],
  url: string,
  port: number,
  gone: (name: string) => void,
): Promise<Server> {
  const logFile = home.logFile(program);
  const log = openSync(logFile, 'w', 0o600);
  // A process group of its own: Ctrl-C is for the launcher, which stops the services first.
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], env: { PATH: process.env.PATH } });
  let ended = '';
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (code, signal) => {
    ended ||= `it ended with ${signal ?? code}`;
  });
  if (child.pid !== undefined) home.note(program, child.pid);
  for (const until = Date.now() + readyMsMax; !(await answers(port)); await delay(30)) {
    if (ended === '' && Date.now() < until) continue;
    child.kill('SIGKILL');
    const tail = readFileSync(logFile, 'utf8').trim().split('\n').slice(-5).join('\n  ');
    throw new Failure(
      'unavailable',
      `${program} did not start: ${ended || 'it does not answer'}; ${logFile} says\n  ${tail}`,
    );
  }
  let stopping = false;
  child.once('exit', () => {
    if (!stopping) gone(program);
  });
  return {
    port,
    url,
    kill() {
      stopping = true;
      child.kill('SIGKILL');
    },
    async [Symbol.asyncDispose]() {
      stopping = true;
      await endChild(child, stopMsMax);
    },
  };
}
