import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RedisOptions } from 'ioredis';
import { Redis } from 'ioredis';
import { openBus } from '#shared/bus/bus.ts';
import type { Passwords } from '#shared/bus/users.ts';
import { adminUser, authorization, userNames } from '#shared/bus/users.ts';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';
import { openGate } from './open-gate.ts';
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
  /** Resolves once it has ended. */
  gone(): Promise<void>;
  /** Such as SIGSTOP and SIGCONT. */
  signal(name: NodeJS.Signals): void;
  /** Starts it again on its data and its port. */
  start(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * The nats-servers that tests run on: the machine's own, and the newest where NATS_SERVER_NEWEST names it, as the gate does. What depends on
 * how a server decides is tested on each of them.
 */
export const natsServers: readonly string[] = ['nats-server', ...(process.env.NATS_SERVER_NEWEST?.split(',') ?? [])];

/** `hasStore`: whether a store decides if events may be appended; else they may. `leaseMs`: as the runners' TASK_LEASE says. */
type NatsOptions = { hasStore?: boolean; leaseMs?: number };

/** `prepare` is given the server's folder before each start. `store`: where its data lies instead; `storeBytesMax`: how much it may hold. */
type UsersOptions = NatsOptions & {
  prepare?(folder: string): void;
  store?: string | undefined;
  storeBytesMax?(): number | undefined;
};

/** A real nats-server of this test's own, with JetStream on disk and its streams made. */
export const startNats = (program?: string, options: NatsOptions = {}) =>
  startDeclared((...at) => natsCommand(program, ...at), {}, options);

function natsCommand(program = 'nats-server', port: number, folder: string, monitor: number, store = folder): string[] {
  const address = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitor)];
  return [program, ...address, '-js', '-sd', store, '-l', join(folder, 'log')];
}

/** Three nats-servers that keep each stream three times, with a user for each service. */
export async function startNatsCluster(
  program?: string,
): Promise<{ nodes: TestServer[]; [Symbol.asyncDispose](): Promise<void> }> {
  await using stack = new AsyncDisposableStack();
  const routes = [await freePort(), await freePort(), await freePort()];
  const nodes: TestServer[] = [];
  const starting = routes.map(async (route, index) => {
    const node = await startServer((port, folder, monitor) => {
      const file = join(folder, 'nats.conf');
      const others = routes.map((each) => `nats-route://127.0.0.1:${each}`);
      const cluster = { name: 'tests', listen: `127.0.0.1:${route}`, routes: others };
      writeFileSync(
        file,
        `server_name: node-${index}\ncluster: ${JSON.stringify(cluster)}\n${authorization(passwords)}`,
      );
      return [...natsCommand(program, port, folder, monitor), '-c', file];
    }, 'nats');
    nodes[index] = stack.use(node);
  });
  await Promise.all(starting);
  const admin = { user: adminUser, password: passwordOf(adminUser), leaseMs: 1_000, replicas: 3 };
  await using bus = await openBus({ url: nodes[0]?.url ?? '', ...admin, name: 'set-up' }, () => undefined);
  await openGate(bus);
  const owned = stack.move();
  return { nodes, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** One in which no stream was made yet. */
export const startBareNats = (program?: string) => startServer((...at) => natsCommand(program, ...at), 'nats');

/** As what starts a server does, the admin's user makes the streams. */
async function startDeclared(
  command: (port: number, folder: string, monitor: number) => string[],
  user: { user?: string; password?: string },
  { hasStore = false, leaseMs = 1_000 }: NatsOptions,
): Promise<TestServer> {
  const ready = async (url: string) => {
    await using bus = await openBus({ url, ...user, name: 'set-up', leaseMs, replicas: 1 }, () => undefined);
    if (!hasStore) await openGate(bus);
  };
  return startServer(command, 'nats', { ready });
}

export const passwordOf = (user: string) => `the password of ${user} in "tests" \\ $1`;
const passwords = Object.fromEntries(userNames.map((user) => [user, passwordOf(user)])) as Passwords;

/** As the set-up starts it: each service has a user of its own, with its rights alone. */
export const startNatsWithUsers = (
  program?: string,
  { prepare = () => undefined, store, storeBytesMax = () => undefined, ...options }: UsersOptions = {},
) =>
  startDeclared(
    (port, folder, monitor) => {
      prepare(folder);
      const file = join(folder, 'nats.conf');
      const bytesMax = storeBytesMax();
      const jetstream = bytesMax === undefined ? '' : `jetstream { max_file_store: ${bytesMax} }\n`;
      writeFileSync(file, `max_payload: 8388608\n${jetstream}${authorization(passwords)}`);
      return [...natsCommand(program, port, folder, monitor, store), '-c', file];
    },
    { user: adminUser, password: passwordOf(adminUser) },
    options,
  );

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
    { own, ready: async (url) => (await connectRedis(url)).disconnect() },
  );

/**
 * A connection that is ready. The first try may be given up where a busy machine answers late (ioredis 6.0 then rejects `connect()`, and tries
 * again by itself).
 */
export async function connectRedis(url: string, options: Partial<RedisOptions> = {}): Promise<Redis> {
  const redis = new Redis(url, { retryStrategy: () => 50, ...options, lazyConnect: true });
  redis.on('error', () => undefined);
  await redis.connect().catch(() => undefined);
  await eventually(() => redis.status === 'ready');
  return redis;
}

async function startServer(
  command: (port: number, folder: string, monitor: number) => string[],
  scheme: string,
  { own, ready }: { own?: string | undefined; ready?: (url: string) => Promise<void> } = {},
): Promise<TestServer> {
  const folder = own ? { path: own, [Symbol.asyncDispose]: async () => undefined } : await temporaryFolder();
  const port = await freePort();
  const monitorPort = await freePort();
  const url = `${scheme}://127.0.0.1:${port}`;
  let child: ChildProcess | undefined;
  const start = async () => {
    const [program = '', ...args] = command(port, folder.path, monitorPort);
    child = spawn(program, args, { stdio: 'ignore' });
    await eventually(() => answers(port));
    await ready?.(url);
  };
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  await start();
  return {
    async gone() {
      if (child && child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
    url,
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
