import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from './eventually.ts';
import { followEvents } from './follow-events.ts';
import type { TestServer } from './servers.ts';
import { passwordOf, startNatsWithUsers, startRedis, violations } from './servers.ts';
import { temporaryFolder } from './temporary.ts';

export const serviceNames = ['store', 'llm-proxy', 'scheduler', 'agent-runner', 'gateway'] as const;
export type Name = (typeof serviceNames)[number];

const jwtSecret = 'a-secret-of-the-tests-that-is-long-enough';

/** A token with this scope, for a system of the tests. */
export const tokenOf = (scope: string, ttl = '1h'): Promise<string> =>
  new SignJWT({ scope })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('ann')
    .setExpirationTime(ttl)
    .sign(new TextEncoder().encode(jwtSecret));

/** Five real processes on a real nats-server and redis-server, with a folder of their own. */
export type System = {
  folder: string;
  nats: TestServer;
  redis: TestServer;
  bus: Bus;
  api: string;
  management: string;
  database: string;
  /** Every event of the log so far, in order. */
  events: Recorded[];
  /** kill -9. */
  kill(name: Name): Promise<void>;
  start(name: Name): Promise<void>;
  /** Starts one more of a service, with settings of its own. */
  another(name: Name, environment?: Record<string, string>): Promise<Instance>;
  /** Waits for an event that satisfies `test`, past ones included. */
  saw(test: (event: Recorded) => boolean, timeoutMs?: number): Promise<Recorded>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** A service beside the one that the system has of its kind. */
export type Instance = {
  child: ChildProcess;
  /** Sends a signal; resolves once the process has gone, where it is one to go by. */
  signal(signal: NodeJS.Signals): Promise<void>;
};

type Options = {
  /** The text of agents.toml. */
  agents: string;
  /** Files of the folder `repository`, which agents may use as "repository". */
  files?: Record<string, string>;
  environment?: Record<string, string>;
  /** Settings of single services, once NATS is up. */
  settingsOf?: (nats: TestServer) => Promise<Partial<Record<Name, Record<string, string>>>>;
};

/** Brings the whole system up; disposing it ends every process. */
export async function startSystem({ agents, files = {}, environment = {}, settingsOf }: Options): Promise<System> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const nats = stack.use(await startNatsWithUsers(undefined, { hasStore: true }));
  const redis = stack.use(await startRedis());
  const repository = join(folder, 'repository');
  for (const [name, text] of Object.entries({ 'README.md': '# A small project\n', ...files })) {
    await mkdir(join(repository, name, '..'), { recursive: true });
    await writeFile(join(repository, name), text);
  }
  await writeFile(join(folder, 'agents.toml'), agents.replaceAll('$REPOSITORY', repository));
  const [port, management] = [await freePort(), await freePort()];
  const database = join(folder, 'toka.sqlite');
  const env = {
    PATH: process.env.PATH ?? '',
    NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '',
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
    CONFIG_FILE: join(folder, 'agents.toml'),
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    TASK_LEASE: '1',
    SHUTDOWN_GRACE: '2',
    PORT: String(port),
    MANAGEMENT_PORT: String(management),
    LLM_PORT: '0',
    JWT_SECRET: jwtSecret,
    DATABASE_FILE: database,
    WORKSPACE_DIR: join(folder, 'workspaces'),
    DELIVERABLES_DIR: join(folder, 'deliverables'),
    REPOSITORY_ROOTS: folder,
    RETRY_BACKOFF: '0.2',
    LLM_PROVIDER: 'demo',
    ...environment,
  };

  const own = (await settingsOf?.(nats)) ?? {};
  const children = new Map<Name, ChildProcess>();
  const kill = async (name: Name) => {
    const child = children.get(name);
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const others: ChildProcess[] = [];
  const start = async (name: Name) => void children.set(name, await open(name, {}));
  const another = async (name: Name, settings: Record<string, string> = {}): Promise<Instance> => {
    const child = await open(name, settings);
    others.push(child);
    const signal = async (which: NodeJS.Signals) => {
      const stays = which === 'SIGSTOP' || which === 'SIGCONT' || which === 'SIGHUP';
      const gone = stays ? undefined : once(child, 'exit');
      child.kill(which);
      await gone;
    };
    return { child, signal };
  };
  const open = async (name: Name, settings: Record<string, string>): Promise<ChildProcess> => {
    const log = createWriteStream(join(folder, `${name}.log`), { flags: 'a' });
    const child = fork(`services/${name}/main.ts`, {
      env: { ...env, NATS_USER: name, NATS_PASSWORD: passwordOf(name), ...own[name], ...settings },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', async (code) =>
        reject(
          new Error(
            `${name} ended with ${code}:\n${(await readFile(join(folder, `${name}.log`), 'utf8')).slice(-2_000)}`,
          ),
        ),
      );
    });
    return child;
  };
  // Each service has its own rights on NATS, and every test of the system shows that they are enough.
  stack.defer(() => {
    const refused = violations(nats);
    if (refused.length > 0) throw new Error(`NATS refused a service:\n${refused.join('\n')}`);
  });
  stack.defer(async () => {
    for (const child of others) child.kill('SIGKILL');
    await Promise.all(serviceNames.map(kill));
  });
  const admin = { user: adminUser, password: passwordOf(adminUser) };
  const bus = stack.use(
    await openBus({ url: nats.url, ...admin, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined),
  );
  const events = followEvents(stack, bus);
  await Promise.all(serviceNames.map(start));

  const owned = stack.move();
  return {
    folder,
    nats,
    redis,
    bus,
    api: `http://127.0.0.1:${port}`,
    management: `http://127.0.0.1:${management}`,
    database,
    events,
    kill,
    start,
    another,
    saw: (test, timeoutMs = 60_000) => eventually(() => events.find(test), timeoutMs),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
