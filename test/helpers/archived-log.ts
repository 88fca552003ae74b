import { join } from 'node:path';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus, openRestorer } from '#shared/bus/bus.ts';
import type { Draft } from '#shared/contracts/events.ts';
import * as store from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { startService } from '#shared/service.ts';
import { Config } from '../../services/store/config.ts';
import { start } from '../../services/store/main.ts';
import type { Means } from '../../services/store/mend-log.ts';
import { mendLog } from '../../services/store/mend-log.ts';
import { openReader } from '../../services/store/reader.ts';
import { agentSpec } from './agents.ts';
import { eventually } from './eventually.ts';
import type { TestServer } from './servers.ts';
import { startNats } from './servers.ts';
import { temporaryFolder } from './temporary.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const options = { name: 'test', leaseMs: 1_000, replicas: 1 };

/** A store on the log of `nats`, with its archive in `file`. */
export const openStore = (nats: TestServer, file: string) =>
  startService('store', Config, start, {
    NATS_URL: nats.url,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: file,
  });

/** A nats-server, a place for an archive, and who may all. No store runs yet. */
export async function openWorld(program?: string) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats(program, { hasStore: true }));
  const file = join(stack.use(await temporaryFolder()).path, 'toka.sqlite');
  const bus = stack.use(await openBus({ url: nats.url, ...options }, () => undefined));
  const owned = stack.move();
  return { nats, file, bus, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
export type World = Awaited<ReturnType<typeof openWorld>>;

const registered = (name: string): Draft => ({
  type: 'toka.agent.registered.v1',
  data: { spec: agentSpec({ name }), origin: 'api' },
});

export const append = (bus: Bus, name: string, deadlineMs?: number) =>
  bus.append(newEvent(registered(name), `agent/${name}`, writer), 0, deadlineMs);

/** Some events, all of them archived. */
export async function fillBoth({ bus }: World, from: number, count: number): Promise<number> {
  let seq = 0;
  for (let index = from; index < from + count; index++) seq = await append(bus, `a${index}`);
  await eventually(async () => (await bus.ask(store.getArchive, { minSeq: seq })).seq >= seq);
  return seq;
}

/** What the log holds, by sequence. */
export async function contents({ bus }: World): Promise<Map<number, string>> {
  const { lastSeq } = await bus.logSight();
  const messages = await bus.messagesAt(Array.from({ length: lastSeq }, (_, index) => index + 1));
  return new Map(messages.flatMap((each) => (each ? [[each.seq, `${each.subject} ${each.bytes}`]] : [])));
}

export async function mend({ nats, file }: World, means: Means): Promise<string | undefined> {
  await using restorer = await openRestorer({ url: nats.url, ...options });
  using reader = openReader(file);
  return reader && (await mendLog(reader, restorer, means, `${file}-tail`));
}

/** The server dies, `harm` comes over its files, and it is started again. */
export async function harmed({ nats }: World, harm: (nats: TestServer) => void): Promise<void> {
  await nats.kill();
  harm(nats);
  await nats.start();
}
