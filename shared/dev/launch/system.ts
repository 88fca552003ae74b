import { join } from 'node:path';
import type { BusOptions } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { Passwords } from '#shared/bus/users.ts';
import { adminUser } from '#shared/bus/users.ts';
import type { RoomState } from '#shared/disk.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { startKeeper } from '#shared/keeper/keeper.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import type { ServiceName } from '#shared/service.ts';
import { readSettings } from '#shared/settings.ts';
import { databaseIn, findAdmin } from './admin.ts';
import type { Environment } from './environment.ts';
import type { Home } from './home.ts';
import { mendLogFrom } from './mend.ts';
import { portNear } from './ports.ts';
import { watchRoom } from './room.ts';
import type { Secrets } from './secrets.ts';
import { openSecrets } from './secrets.ts';
import type { NatsServer, Server } from './servers.ts';
import { startNats, startRedis } from './servers.ts';
import type { Service } from './services.ts';
import { startService } from './services.ts';

/** In the order in which they stop: first what takes work, last what keeps it. */
const order: readonly ServiceName[] = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'];

export type System = {
  environment: Environment;
  /** Ends everything at once. */
  kill(): void;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Brings up the servers and then the five services, each with no more than its own settings. */
export async function startSystem(
  home: Home,
  given: Environment,
  say: (line: string) => void,
  lost: (reason: string) => void,
): Promise<System> {
  await using stack = new AsyncDisposableStack();
  const keeping = readSettings(KeeperConfig, given);
  const { kept, defaults } = await defaultsOf(home, given, say);
  const { servers, nats } = await startServers(stack, home, given, kept, defaults, say);
  const room = stack.use(watchRoom(home.path, { say, changed: (state) => meet(state, nats) }));
  const environment = { ...defaults, ...given, ...ownServers(given, defaults) };
  await makeStreams(environment);
  await mendAtStart(home.path, environment, say);
  say(`starting ${order.join(', ')} …`);
  const services: Service[] = [];
  stack.defer(async () => {
    for (const name of order) await services.find((service) => service.name === name)?.stop();
  });
  const isExcused = () => room.state() !== 'ok' || servers.some((server) => !server.isUp());
  const started = await Promise.allSettled(
    order.map(async (name) => {
      const own = given.NATS_URL ? environment : { ...environment, ...userOf(name, kept) };
      services.push(await startService(name, home, own, { say, lost, isExcused }));
    }),
  );
  for (const each of started) if (each.status === 'rejected') throw each.reason;
  await startKeeper({
    stack,
    admin: adminOptions(environment, 'keeper'),
    settings: keeping,
    files: [databaseIn(environment, home.path)],
    say: (line) => say(`! ${line}`),
  });
  const owned = stack.move();
  return {
    environment,
    kill: () => {
      for (const each of [...services, ...servers]) each.kill();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Those that are not somebody else's; `defaults` takes where they are. */
async function startServers(
  stack: AsyncDisposableStack,
  home: Home,
  given: Environment,
  kept: Secrets,
  defaults: Environment,
  say: (line: string) => void,
): Promise<{ servers: Server[]; nats: NatsServer | undefined }> {
  const servers: Server[] = [];
  let nats: NatsServer | undefined;
  if (!given.NATS_URL) {
    say('starting nats-server …');
    const passwords = { ...kept.NATS_PASSWORDS, [adminUser]: kept.NATS_PASSWORD } as Passwords;
    nats = stack.use(
      await startNats(home, { passwords, port: portIn(given, 'NATS_PORT'), sync: isSynced(given) }, say),
    );
    servers.push(nats);
    defaults.NATS_URL = nats.url;
    defaults.NATS_PASSWORD = kept.NATS_PASSWORD;
  }
  if (!given.REDIS_URL) {
    say('starting redis-server …');
    const redis = await startRedis(home, { password: kept.REDIS_PASSWORD, port: portIn(given, 'REDIS_PORT') }, say);
    servers.push(stack.use(redis));
    defaults.REDIS_URL = redis.url;
    defaults.REDIS_PASSWORD = kept.REDIS_PASSWORD;
  }
  return { servers, nats };
}

/**
 * nats-server does not get over a write that failed: 2.9 answers nobody any more, 2.15 no publish, both until they are started again.
 * So it is kept from writing before the disk is full to the last byte. On a disk that can only be read it would not start.
 */
async function meet(state: RoomState, nats: NatsServer | undefined): Promise<void> {
  if (state !== 'read-only') await nats?.refuse(state === 'full');
}

/** Before anybody appends: what a power cut has taken from the log's end comes back from the archive. All else is for a person to decide. */
async function mendAtStart(home: string, environment: Environment, say: (line: string) => void): Promise<void> {
  try {
    const done = await mendLogFrom(databaseIn(environment, home), await findAdmin(environment, home), 'fill');
    if (done) say(`! ${done}`);
  } catch (error) {
    // The store finds it as well: then no service writes, and each says why.
    say(`! ${messageOf(error)}`);
  }
}

/** Services may only look at streams: they are made here, by the user of NATS that may. */
async function makeStreams(environment: Environment): Promise<void> {
  const bus = await openBus(adminOptions(environment, 'set-up'), () => undefined);
  await bus[Symbol.asyncDispose]();
}

/** How this launcher speaks to NATS itself. */
export const adminOptions = (environment: Environment, name: string): BusOptions => ({
  url: environment.NATS_URL ?? '',
  user: environment.NATS_PASSWORD ? (environment.NATS_USER ?? adminUser) : undefined,
  password: environment.NATS_PASSWORD,
  name,
  leaseMs: Number(environment.TASK_LEASE ?? 30) * 1000,
  replicas: Number(environment.NATS_REPLICAS ?? 1),
});

function portIn(given: Environment, name: 'NATS_PORT' | 'REDIS_PORT'): number | undefined {
  const value = given[name];
  if (value === undefined) return undefined;
  if (!/^[1-9]\d{0,4}$/.test(value) || Number(value) > 65_535)
    throw new Failure('invalid', `${name} got ${JSON.stringify(value)}: it takes a port, 1 to 65535`);
  return Number(value);
}

function isSynced({ NATS_SYNC: value = 'always' }: Environment): boolean {
  if (value !== 'always' && value !== 'interval')
    throw new Failure('invalid', `NATS_SYNC got ${JSON.stringify(value)}: it takes always or interval`);
  return value === 'always';
}

/** Each service has a user of its own on our NATS, with no more rights than it needs. */
const userOf = (name: ServiceName, { NATS_PASSWORDS }: Secrets): Environment => ({
  NATS_USER: name,
  NATS_PASSWORD: NATS_PASSWORDS[name] ?? '',
});

/** What our own servers were started with wins over what is set for others. */
const ownServers = (given: Environment, defaults: Environment): Environment => ({
  ...(given.NATS_URL
    ? {}
    : { NATS_URL: defaults.NATS_URL ?? '', NATS_USER: adminUser, NATS_PASSWORD: defaults.NATS_PASSWORD ?? '' }),
  ...(given.REDIS_URL ? {} : { REDIS_URL: defaults.REDIS_URL ?? '', REDIS_PASSWORD: defaults.REDIS_PASSWORD ?? '' }),
});

async function defaultsOf(home: Home, given: Environment, say: (line: string) => void) {
  const kept = openSecrets(home.path);
  const ports: Record<string, number> = {
    PORT: await portNear(8080),
    MANAGEMENT_PORT: await portNear(9000),
    LLM_PORT: await portNear(4000),
  };
  for (const [name, usual] of [
    ['PORT', 8080],
    ['MANAGEMENT_PORT', 9000],
    ['LLM_PORT', 4000],
  ] as const)
    if (!given[name] && ports[name] !== usual) say(`port ${usual} is taken; ${name} is ${ports[name]}`);
  const defaults: Environment = {
    LLM_PROVIDER: given.ANTHROPIC_API_KEY ? 'anthropic' : given.OPENAI_API_KEY ? 'openai' : 'demo',
    PORT: String(ports.PORT),
    MANAGEMENT_PORT: String(ports.MANAGEMENT_PORT),
    LLM_PORT: String(ports.LLM_PORT),
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    JWT_SECRET: kept.JWT_SECRET,
    DATABASE_FILE: join(home.path, 'store', 'toka.sqlite'),
    WORKSPACE_DIR: join(home.path, 'workspaces'),
    DELIVERABLES_DIR: join(home.path, 'deliverables'),
  };
  return { kept, defaults };
}
