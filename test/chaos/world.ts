import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '#shared/dev/launch/ports.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { passwordOf, startRedis } from '#test/helpers/servers.ts';
import type { Disk } from './disk.ts';
import { openDisk } from './disk.ts';
import { startNatsOnDisk } from './nats-disk.ts';
import type { Network } from './network-client.ts';
import { startNetwork } from './network-client.ts';
import type { Victims } from './plan.ts';
import type { Crash, Memory, Process } from './process.ts';
import { createProcess, memoryOf } from './process.ts';

export type Service = 'store' | 'llm-proxy' | 'scheduler' | 'agent-runner' | 'gateway';
/** How many of each there are. */
export type Sizes = Record<Service, number>;

export const jwtSecret = 'a-secret-of-the-tests-that-is-long-enough';
/** Model calls of all llm-proxies together: low enough that it is reached. */
export const limit = { requests: 30, windowMs: 10_000 };
/** How long a runner that says nothing keeps a task. */
export const taskLeaseMs = 4_000;

const storeDiskBytes = 128 * 1024 ** 2;
const redisDiskBytes = 64 * 1024 ** 2;
/** It counts as full with 64 MiB left. */
const natsDiskBytes = 512 * 1024 ** 2;

/** Real processes, real servers, and between any two of them a way that can be harmed. */
export type World = {
  folder: string;
  nats: TestServer;
  redis: TestServer;
  network: Network;
  processes: ReadonlyMap<string, Process>;
  disks: ReadonlyMap<string, Disk>;
  victims: Victims;
  /** Where clients reach the gateways. */
  apis: readonly string[];
  databases: ReadonlyMap<string, string>;
  /** Folders that are empty when nobody works. */
  scratch: readonly string[];
  crashes: readonly Crash[];
  /** Of each service when it had just begun. */
  memory: ReadonlyMap<string, Memory>;
  /** Which llm-proxy sends by which port. */
  senders: ReadonlyMap<number, string>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = { root: string; folder: string; sizes: Sizes };

export async function openWorld({ root, folder, sizes }: Options): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const place = async (name: string) => {
    const path = join(folder, name);
    await mkdir(path, { recursive: true });
    return path;
  };
  const disks = new Map<string, Disk>();
  const disk = async (name: string, bytes: number) => {
    const path = await place(name);
    const opened = await openDisk(path, bytes);
    if (opened) disks.set(name, stack.use(opened));
    return path;
  };
  await disk('nats', natsDiskBytes);
  const onDisk = stack.use(await startNatsOnDisk(taskLeaseMs, disks.get('nats')));
  const { nats } = onDisk;
  if (onDisk.disk) disks.set('nats', onDisk.disk);
  const redis = stack.use(await startRedis(await disk('redis', redisDiskBytes)));
  const network = stack.use(await startNetwork());
  const links: string[] = [];
  const way = async (from: string, to: string, port: number) => {
    const name = `${from} > ${to}`;
    links.push(name);
    return network.open(name, port);
  };
  const repository = await place('repository');
  await writeFile(join(repository, 'README.md'), '# A small project\n');
  await writeFile(join(folder, 'agents.toml'), '');
  const [workspaces, temporary] = [await place('workspaces'), await place('temporary')];

  const crashes: Crash[] = [];
  const processes = new Map<string, Process>();
  const apis: string[] = [];
  const databases = new Map<string, string>();
  const senders = new Map<number, string>();
  for (const [service, count] of Object.entries(sizes) as [Service, number][]) {
    for (let number = 1; number <= count; number++) {
      const name = `${service}-${number}`;
      const env = {
        ...common(folder, service),
        TMPDIR: temporary,
        NATS_URL: `nats://127.0.0.1:${await way(name, 'nats', nats.port)}`,
      };
      const own: Record<string, string> = {};
      if (service === 'gateway') {
        own.PORT = String(await freePort());
        apis.push(`http://127.0.0.1:${await way('client', name, Number(own.PORT))}`);
      }
      if (service === 'llm-proxy') {
        own.REDIS_URL = `redis://127.0.0.1:${await way(name, 'redis', redis.port)}`;
        const port = await way(name, 'provider', network.providerPort);
        senders.set(port, name);
        own.ANTHROPIC_BASE_URL = `http://127.0.0.1:${port}`;
      }
      if (service === 'agent-runner') own.WORKSPACE_DIR = workspaces;
      if (service === 'store') {
        own.DATABASE_FILE = join(await disk(name, storeDiskBytes), 'toka.sqlite');
        databases.set(name, own.DATABASE_FILE);
      }
      const onCrash = (crash: Crash) => void crashes.push(crash);
      processes.set(name, createProcess({ root, service, name, folder, env: { ...env, ...own }, onCrash }));
    }
  }
  stack.defer(async () => {
    await Promise.all([...processes.values()].map((process) => process.end('SIGKILL')));
  });
  await Promise.all([...processes.values()].map((process) => process.start()));
  const memory = await memoryOf(processes);
  const owned = stack.move();
  return {
    ...{ folder, nats, redis, network, processes, disks, apis, databases, crashes, memory, senders },
    victims: { service: [...processes.keys()], server: ['nats', 'redis'], link: links, disk: [...disks.keys()] },
    scratch: [workspaces, temporary],
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** What all services are told; those that do not know a setting pass over it. */
const common = (folder: string, service: Service): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '',
  NATS_USER: service,
  NATS_PASSWORD: passwordOf(service),
  CONFIG_FILE: join(folder, 'agents.toml'),
  METRICS_PORT: '0',
  METRICS_HOST: '127.0.0.1',
  TASK_LEASE: String(taskLeaseMs / 1000),
  SHUTDOWN_GRACE: '2',
  MANAGEMENT_PORT: '0',
  JWT_SECRET: jwtSecret,
  HTTP_RATE_LIMIT_REQUESTS: '0',
  DELIVERABLES_DIR: join(folder, 'deliverables'),
  REPOSITORY_ROOTS: folder,
  MAX_CONCURRENT_AGENTS: '8',
  AGENT_POOL_SIZE: '8',
  TASKS_AHEAD: '4',
  // What passing faults do to a run is to be seen in how it ends, not in that it was given up.
  RUN_RETRIES: '100',
  RETRY_BACKOFF: '0.2',
  RETRY_BACKOFF_MAX: '2',
  QUARANTINE_AFTER: '0',
  LLM_PORT: '0',
  LLM_PROVIDER: 'anthropic',
  ANTHROPIC_API_KEY: 'key-of-the-tests',
  LLM_MODEL: 'claude-test',
  RATE_LIMIT_REQUESTS: String(limit.requests),
  RATE_LIMIT_WINDOW: String(limit.windowMs / 1000),
  // Without it a call that is made again would not reach the provider, and nobody would see it.
  RESPONSE_CACHE_ENABLED: 'false',
});
