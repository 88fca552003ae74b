import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Passwords } from '#shared/bus/users.ts';
import { authorization, logAccount } from '#shared/bus/users.ts';
import { roomOf } from '#shared/disk.ts';
import { Failure } from '#shared/errors.ts';
import type { Home } from './home.ts';
import { keepAlive } from './keep-alive.ts';
import { answers, portNear } from './ports.ts';

const readyMsMax = 30_000;
const stopMsMax = 15_000;

export type Server = {
  port: number;
  url: string;
  /** Whether it answers at present, as far as is known. */
  isUp(): boolean;
  /** Ends it at once. */
  kill(): void;
  [Symbol.asyncDispose](): Promise<void>;
};

export type NatsServer = Server & {
  /** Starts it again such that it takes nothing more and says so, or as it was. */
  refuse(isFull: boolean): Promise<void>;
};

/** `port`: as configured; undefined: the usual one, or one that is free. */
type ServerOptions = { password: string; port: number | undefined };

type NatsOptions = {
  passwords: Passwords;
  port: number | undefined;
  /** Whether each write is to reach the disk before it is acknowledged. */
  sync: boolean;
};

/** A nats-server with JetStream on disk under the data folder, for this machine alone and with a user for each service. */
export async function startNats(
  home: Home,
  { passwords, port: wanted, sync }: NatsOptions,
  say: (line: string) => void,
): Promise<NatsServer> {
  const isSynced = sync && (await syncsEachWrite(home.path));
  if (!isSynced)
    say(
      `  ${sync ? 'it is too old to sync' : 'it does not sync'} each write: a power cut may lose what came in the last two minutes`,
    );
  const port = wanted ?? (await portNear(4222));
  bringStreamsOver(join(home.path, 'nats', 'jetstream'));
  const write = (name: string, maxFileStore: number): string => {
    const file = join(home.path, name);
    const jetstream = [
      `store_dir: ${JSON.stringify(join(home.path, 'nats'))}`,
      // By itself it takes three quarters of what is free at its start, whatever it holds already.
      `max_file_store: ${maxFileStore}`,
      ...(isSynced ? ['sync_interval: always'] : []),
    ];
    const lines = [
      `listen: "127.0.0.1:${port}"`,
      'max_payload: 8388608',
      `jetstream { ${jetstream.join(', ')} }`,
      authorization(passwords),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
    return file;
  };
  const usual = write('nats.conf', (await roomOf(home.path)).sizeBytes);
  // Written beforehand: on a full disk it could not be. What it holds is more, so each publish is refused, at once and with the reason.
  const full = write('nats-full.conf', 1);
  let file = usual;
  const server = await startServer(home, 'nats-server', () => ['-c', file], `nats://127.0.0.1:${port}`, port, say);
  return {
    ...server,
    async refuse(isFull) {
      file = isFull ? full : usual;
      await server.restart();
    },
  };
}

/** Whether the nats-server of the PATH can bring each write to the disk before it acknowledges it: 2.9 cannot. */
export async function syncsEachWrite(folder: string): Promise<boolean> {
  const file = join(folder, 'nats-sync.conf');
  writeFileSync(file, 'jetstream { sync_interval: always }\n', { mode: 0o600 });
  const child = spawn('nats-server', ['-t', '-c', file], { stdio: 'ignore', env: { PATH: process.env.PATH } });
  const code = await new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  rmSync(file, { force: true });
  return code === 0;
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
  say: (line: string) => void,
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
  return startServer(home, 'redis-server', () => [file], `redis://127.0.0.1:${port}`, port, say);
}

async function startServer(
  home: Home,
  program: string,
  args: () => string[],
  url: string,
  port: number,
  say: (line: string) => void,
): Promise<Server & { restart(): Promise<void> }> {
  const log = home.log(program);
  let isUp = false;
  const kept = await keepAlive(program, {
    async begin(spawned) {
      const out = log.descriptor ?? 'ignore';
      // A process group of its own: Ctrl-C is for the launcher, which stops the services first.
      const child = spawn(program, args(), {
        detached: true,
        stdio: ['ignore', out, out],
        env: { PATH: process.env.PATH },
      });
      spawned(child);
      let ended = '';
      child.once('error', (error) => {
        ended = error.message;
      });
      child.once('exit', (code, signal) => {
        isUp = false;
        ended ||= `it ended with ${signal ?? code}`;
      });
      if (child.pid !== undefined) home.note(program, child.pid);
      for (const until = performance.now() + readyMsMax; !(await answers(port)); await delay(30)) {
        if (ended === '' && performance.now() < until) continue;
        child.kill('SIGKILL');
        throw new Failure(
          'unavailable',
          `${program} did not start: ${ended || 'it does not answer'}; ${log.file} says\n  ${tailOf(log.file)}`,
        );
      }
      isUp = ended === '';
    },
    stopMsMax,
    say,
  });
  return {
    port,
    url,
    isUp: () => isUp,
    restart: kept.restart,
    kill: kept.kill,
    [Symbol.asyncDispose]: kept.stop,
  };
}

function tailOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n  ');
  } catch {
    return 'nothing';
  }
}
