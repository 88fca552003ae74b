import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Passwords } from '#shared/bus/users.ts';
import { authorization, userNames } from '#shared/bus/users.ts';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';
import { temporaryFolder } from './temporary.ts';

export type TestServer = {
  url: string;
  port: number;
  /** Of its data. */
  folder: string;
  /** NATS: where its own state can be asked. */
  monitorPort: number;
  /** kill -9. */
  kill(): Promise<void>;
  /** Such as SIGSTOP and SIGCONT. */
  signal(name: NodeJS.Signals): void;
  /** Starts it again on its data and its port. */
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A real nats-server of this test's own, with JetStream on disk. */
export const startNats = () => startServer(natsCommand, 'nats');

function natsCommand(port: number, folder: string, monitor: number): string[] {
  const address = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitor)];
  return ['nats-server', ...address, '-js', '-sd', folder, '-l', join(folder, 'log')];
}

export const passwordOf = (user: string) => `the password of ${user} in "tests" \\ $1`;
const passwords = Object.fromEntries(userNames.map((user) => [user, passwordOf(user)])) as Passwords;

/** As the set-up starts it: each service has a user of its own, with its rights alone. */
export const startNatsWithUsers = () =>
  startServer((port, folder, monitor) => {
    const file = join(folder, 'nats.conf');
    writeFileSync(file, `max_payload: 8388608\n${authorization(passwords)}`);
    return [...natsCommand(port, folder, monitor), '-c', file];
  }, 'nats');

/** What the server says that it refused, so far. */
export const violations = ({ folder }: Pick<TestServer, 'folder'>): string[] =>
  readFileSync(join(folder, 'log'), 'utf8')
    .split('\n')
    .filter((line) => /violation/i.test(line));

/** A real redis-server of this test's own. `own`: a folder for its data that stays. */
export const startRedis = (own?: string) =>
  startServer(
    (port, folder) => [
      'redis-server',
      '--bind',
      '127.0.0.1',
      '--port',
      String(port),
      '--dir',
      folder,
      '--appendonly',
      'yes',
      '--save',
      '',
    ],
    'redis',
    own,
  );

async function startServer(
  command: (port: number, folder: string, monitor: number) => string[],
  scheme: string,
  own?: string,
): Promise<TestServer> {
  const folder = own ? { path: own, [Symbol.asyncDispose]: async () => undefined } : await temporaryFolder();
  const port = await freePort();
  const monitorPort = await freePort();
  let child: ChildProcess | undefined;
  const start = async () => {
    const [program = '', ...args] = command(port, folder.path, monitorPort);
    child = spawn(program, args, { stdio: 'ignore' });
    await eventually(() => answers(port));
  };
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  await start();
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    folder: folder.path,
    monitorPort,
    kill,
    signal: (name) => void child?.kill(name),
    start,
    async [Symbol.asyncDispose]() {
      await kill();
      await folder[Symbol.asyncDispose]();
    },
  };
}
