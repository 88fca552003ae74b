import type { Counter, LabelValues } from 'prom-client';
import { z } from 'zod';
import { eventsStream } from '#shared/contracts/subjects.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import type { Archive } from './archive.ts';
import type { Config } from './config.ts';

const everyMs = 5_000;
const askMsMax = 2_000;

/** `/varz` of a NATS server: bytes; `cpu` in per cent of one processor. */
const Varz = z.object({
  server_name: z.string(),
  connections: z.number(),
  mem: z.number(),
  cpu: z.number(),
  in_msgs: z.number(),
  out_msgs: z.number(),
  slow_consumers: z.number(),
  jetstream: z.object({ config: z.object({ max_storage: z.number() }).optional() }).optional(),
});

/** Shows JetStream's state, and that of the servers whose monitoring ports NATS_MONITOR_URL names. */
export function watchNats({ bus, config, metrics, stack }: Context<Config>, archive: Pick<Archive, 'seq'>): void {
  const servers = config.NATS_MONITOR_URL?.split(',').map((url) => new URL('/varz', url)) ?? [];
  repeat(stack, everyMs, () => watchJetStream(bus, metrics, archive));
  repeat(stack, everyMs, async () => {
    await Promise.all(servers.map((url) => watchServer(url, metrics)));
  });
}

async function watchJetStream(
  bus: Context<Config>['bus'],
  metrics: Context<Config>['metrics'],
  archive: Pick<Archive, 'seq'>,
): Promise<void> {
  const { streams, consumers, storage } = await bus.state();
  metrics.storageBytes.set(storage.bytes);
  if (storage.max > 0) metrics.storageMax.set(storage.max);
  for (const { name: stream, messages, bytes, lastSeq, replicas } of streams) {
    metrics.streamMessages.set({ stream }, messages);
    metrics.streamBytes.set({ stream }, bytes);
    metrics.streamReplicasCurrent.set({ stream }, replicas);
    if (stream !== eventsStream) continue;
    metrics.logSeq.set(lastSeq);
    // Also while SQLite refuses to write, and nothing is taken.
    metrics.archiveLag.set(Math.max(0, lastSeq - archive.seq));
  }
  // A consumer that is gone must not stay behind with its last figures.
  metrics.consumerPending.reset();
  metrics.consumerUnacked.reset();
  for (const { stream, name: consumer, pending, unacked } of consumers) {
    metrics.consumerPending.set({ stream, consumer }, pending);
    metrics.consumerUnacked.set({ stream, consumer }, unacked);
  }
}

async function watchServer(url: URL, metrics: Context<Config>['metrics']): Promise<void> {
  const server = url.hostname;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(askMsMax) });
    const state = Varz.parse(await response.json());
    metrics.natsUp.set({ server }, 1);
    metrics.natsConnections.set({ server }, state.connections);
    metrics.natsMemory.set({ server }, state.mem);
    metrics.natsCpu.set({ server }, state.cpu / 100);
    setTotal(metrics.natsMessages, { server, direction: 'in' }, state.in_msgs);
    setTotal(metrics.natsMessages, { server, direction: 'out' }, state.out_msgs);
    setTotal(metrics.natsSlowConsumers, { server }, state.slow_consumers);
    if (state.jetstream?.config) metrics.storageMax.set(state.jetstream.config.max_storage);
  } catch {
    metrics.natsUp.set({ server }, 0);
  }
}

/** A total that another server counts: a fall is its restart, which Prometheus reads as such. */
function setTotal<L extends string>(counter: Counter<L>, labels: NoInfer<Record<L, string>>, total: number): void {
  counter.remove(labels);
  counter.inc(labels as LabelValues<L>, total);
}
