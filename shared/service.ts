import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { z } from 'zod';
import type { Bus } from './bus/bus.ts';
import { openBus } from './bus/bus.ts';
import type { Oddity } from './bus/log.ts';
import { healthSubject, metricsSubject } from './contracts/subjects.ts';
import { Failure, isTransient, messageOf } from './errors.ts';
import type { Writer } from './event.ts';
import { newEvent } from './event.ts';
import type { Health } from './health.ts';
import { serveHealth } from './health.ts';
import type { Logger } from './log.ts';
import { createLogger } from './log.ts';
import type { Metrics } from './metrics.ts';
import { createMetrics, startAtZero } from './metrics.ts';
import { scrub } from './secrets.ts';
import type { CommonConfig, Environment } from './settings.ts';
import { readSecret, readSettings } from './settings.ts';
import { version } from './version.ts';

/** What a stop may take beyond SHUTDOWN_GRACE: its last event, and closing what is open. */
const closingMsMax = 40_000;
const announceMs = 2_000;
/** Messages of the log that do not count, and are told of once. */
const oddToldMax = 1_000;

export type ServiceName = 'gateway' | 'scheduler' | 'agent-runner' | 'llm-proxy' | 'store';

/** What a service's `start` is given. What it opens goes on `stack`, which closes it in reverse. */
export type Context<C> = {
  config: C;
  bus: Bus;
  logger: Logger;
  metrics: Metrics;
  /** This instance, e.g. `host-1a2b`. */
  instance: string;
  writer: Writer;
  stack: AsyncDisposableStack;
  /** A secret that the environment holds under a name of the user's own: the variable, or the file that NAME_FILE names. */
  secret(name: string): string | undefined;
  /** Aborted when the service begins to stop: take nothing new. */
  stopping: AbortSignal;
  /** Adds something to what `/health/ready` asks: answers `ok`, `ok, but …`, or what is wrong. */
  check(name: string, ask: () => string | Promise<string>): void;
};

type Start<C> = (context: Context<C>) => Promise<void> | void;
export type Running = {
  instance: string;
  port: number;
  /** Within which it stops once it is told to, in milliseconds. */
  stopMsMax: number;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Brings a service up in this process: settings, log, metrics, bus, health, then its own `start`. Disposing it drains it. */
export async function startService<S extends z.ZodObject>(
  name: ServiceName,
  schema: S,
  start: Start<z.output<S>>,
  environment: Environment,
): Promise<Running> {
  const config = readSettings(schema, environment);
  const common = config as unknown as CommonConfig;
  const instance =
    common.INSTANCE ??
    `${hostname()
      .slice(0, 40)
      .replace(/[^A-Za-z0-9_-]/g, '-')}-${randomBytes(2).toString('hex')}`;
  const logger = createLogger(name, instance, common.LOG_LEVEL);
  const metrics = createMetrics(name, instance, common.METRICS_AGENTS_MAX);
  startAtZero(metrics, name);
  const writer = { source: `/toka/${name}/${instance}`, actor: `service:${name}`, tracing: common.TRACING_ENABLED };
  const stopping = new AbortController();
  await using setup = new AsyncDisposableStack();

  const bus = setup.use(
    await openBus({ ...busOptions(common), name, declares: false }, bugIn(logger), passingOver(logger, metrics)),
  );
  const stack = setup.use(new AsyncDisposableStack());
  const checks = new Map<string, () => string | Promise<string>>([
    ['nats', () => (bus.connected() ? 'ok' : 'disconnected')],
    ['log', bus.gate.state],
  ]);
  const health = () => ask(checks);
  await start({
    config,
    bus,
    logger,
    metrics,
    instance,
    writer,
    stack,
    secret: (secretName) => readSecret(environment, secretName),
    stopping: stopping.signal,
    check: (key, fn) => checks.set(key, fn),
  });

  const registry = common.METRICS_ENABLED ? metrics.registry : undefined;
  if (registry) metrics.collectProcess();
  if (registry) bus.answerEach(metricsSubject, () => registry.getMetricsAsJSON());
  bus.answerEach(healthSubject, async () => ({ service: name, instance, version, ...(await health()) }));
  const server = setup.use(await serveHealth(common.METRICS_PORT, common.METRICS_HOST, registry, health));
  await announce(bus, { service: name, instance, version }, writer, stopping.signal, logger);
  logger.info({ port: server.port }, 'started');

  const owned = setup.move();
  return {
    instance,
    port: server.port,
    stopMsMax: common.SHUTDOWN_GRACE * 1000 + closingMsMax,
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await bus.drain();
      const data = { service: name, instance, reason: 'told to stop' };
      await bus
        .append(newEvent({ type: 'toka.system.stopped.v1', data }, `system/${name}`, writer), undefined, 2_000)
        .catch(() => undefined);
      await owned.disposeAsync();
      logger.info('stopped');
    },
  };
}

const bugIn = (logger: Logger) => (error: unknown) => logger.error({ err: error }, 'a bug: NATS or an answer failed');

/** A log that may not be written on, or has no room, keeps no service from coming up: it says so on /health and /status. */
async function announce(
  bus: Bus,
  data: { service: ServiceName; instance: string; version: string },
  writer: Writer,
  stopping: AbortSignal,
  logger: Logger,
): Promise<void> {
  const started = newEvent({ type: 'toka.system.started.v1', data }, `system/${data.service}`, writer);
  try {
    await bus.append(started);
  } catch (error) {
    if (!isTransient(error) && !(error instanceof Failure && error.code === 'disk-full')) throw error;
    logger.warn({ reason: messageOf(error) }, 'it starts, and cannot write to the log yet');
    void (async () => {
      while (!stopping.aborted) {
        await delay(announceMs, undefined, { signal: stopping }).catch(() => undefined);
        const isTold = await bus.append(started, undefined, announceMs).then(
          () => true,
          () => false,
        );
        if (isTold) return;
      }
    })();
  }
}

/** What does not count in the log is counted here, and the first of each is told of. */
function passingOver(logger: Logger, metrics: Metrics) {
  const told = new LRUCache<number, true>({ max: oddToldMax });
  return ({ seq, subject, newer, reason }: Oddity) => {
    metrics.logPassedOver.inc({ kind: newer ? 'newer' : 'odd' });
    if (told.has(seq)) return;
    told.set(seq, true);
    logger.warn({ seq, subject, reason }, 'a message of the log does not count, and was passed over');
  };
}

const busOptions = (config: CommonConfig) => ({
  url: config.NATS_URL,
  user: config.NATS_PASSWORD ? config.NATS_USER : undefined,
  password: config.NATS_PASSWORD,
  leaseMs: config.TASK_LEASE * 1000,
  replicas: config.NATS_REPLICAS,
});

async function ask(checks: ReadonlyMap<string, () => string | Promise<string>>): Promise<Health> {
  const entries = await Promise.all(
    [...checks].map(async ([name, check]) => [name, await Promise.resolve().then(check).catch(messageOf)] as const),
  );
  return { ready: entries.every(([, state]) => state.startsWith('ok')), checks: Object.fromEntries(entries) };
}

/** A service as a process of its own: the environment in, SIGTERM or a lost parent out. Exits 1 with one line for a bad setting. */
export async function runService<S extends z.ZodObject>(
  name: ServiceName,
  schema: S,
  start: Start<z.output<S>>,
): Promise<void> {
  try {
    const running = await startService(name, schema, start, process.env);
    liveUntilTold(running);
  } catch (error) {
    const lines = scrub(error instanceof Failure ? error.message : ((error as Error)?.stack ?? String(error)));
    for (const line of lines.split('\n')) process.stderr.write(`${name}: ${line}\n`);
    process.exit(1);
  }
}

function liveUntilTold(running: Running): void {
  let stopping = false;
  const stop = async () => {
    if (stopping) return;
    stopping = true;
    const limit = setTimeout(() => process.exit(1), running.stopMsMax);
    limit.unref();
    await running[Symbol.asyncDispose]().catch(() => undefined);
    process.exit(0);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop);
  // Started by a launcher with an IPC channel: no orphan outlives it.
  if (process.connected) process.once('disconnect', stop);
  process.send?.({ ready: true, port: running.port });
}
