import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import type { Delivery } from '#shared/bus/pull.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Archive } from './archive.ts';

const pullBatch = 2_000;
const retryMs = 1_000;
const waitMsMax = 2_000;
const waitersMax = 10_000;

export type Follower = {
  /** Resolves once the archive holds `seq`. Throws `unavailable` when that takes longer than two seconds. */
  reach(seq: number): Promise<void>;
  /** `ok`, or what keeps it from archiving. */
  state(): string;
  [Symbol.asyncDispose](): Promise<void>;
};

/**
 * Copies the log into the archive: whatever has come while the last commit was on its way is the next one. Events are acknowledged
 * after their commit, so a crash in between brings them again, and the sequence tells that they are there already.
 */
export async function followLog(bus: Bus, archive: Archive, metrics: Metrics, logger: Logger): Promise<Follower> {
  await checkSameLog(bus, archive);
  const consumer = `store-${archive.id}`;
  await bus.declareArchive(consumer, archive.seq + 1);
  const stop = new AbortController();
  let queue: Delivery[] = [];
  let queued = archive.seq;
  let gap = false;
  let state = 'ok';
  let flushing: NodeJS.Immediate | undefined;
  let waiters: { seq: number; resolve(): void }[] = [];

  const flush = () => {
    flushing = undefined;
    const batch = queue;
    const last = batch.at(-1);
    if (!last) return;
    const startedMs = performance.now();
    try {
      archive.commit(batch.map(({ streamSeq, data }) => ({ seq: streamSeq, bytes: data })));
    } catch (error) {
      if (state === 'ok') logger.error({ err: error }, 'events cannot be written to SQLite; trying again');
      state = `SQLite: ${messageOf(error)}`;
      return;
    }
    queue = [];
    state = 'ok';
    last.ack();
    metrics.archiveCommitSeconds.observe((performance.now() - startedMs) / 1000);
    metrics.archiveEvents.inc(batch.length);
    metrics.archiveSeq.set(archive.seq);
    metrics.archiveLag.set(last.pending);
    const reached = waiters.filter(({ seq }) => seq <= archive.seq);
    if (reached.length > 0) waiters = waiters.filter(({ seq }) => seq > archive.seq);
    for (const { resolve } of reached) resolve();
  };

  const onEvent = (delivery: Delivery) => {
    if (delivery.streamSeq <= archive.seq) delivery.ack();
    if (delivery.streamSeq <= queued || gap) return;
    gap = delivery.streamSeq !== queued + 1;
    if (gap) return;
    queued = delivery.streamSeq;
    queue.push(delivery);
    if (state === 'ok') flushing ??= setImmediate(flush);
  };

  const following = (async () => {
    while (!stop.signal.aborted) {
      await bus.pullArchive(consumer, pullBatch, stop.signal, onEvent).catch(async (error) => {
        logger.warn({ reason: messageOf(error) }, 'the log could not be read');
        await delay(retryMs);
      });
      while (state !== 'ok' && !stop.signal.aborted) {
        await delay(retryMs);
        flush();
      }
      if (!gap || stop.signal.aborted) continue;
      // The consumer is further than this file, which may be a backup: it starts anew from what is here.
      flush();
      logger.warn({ seq: archive.seq }, 'events are missing between the archive and its consumer; reading them again');
      await bus.resetArchive(consumer, archive.seq + 1).catch(() => delay(retryMs));
      queued = archive.seq;
      gap = false;
    }
  })();

  return {
    state: () => state,
    async reach(seq) {
      if (seq <= archive.seq) return;
      const late = new Failure('unavailable', `the archive is at ${archive.seq} and not yet at ${seq}`, {
        retryAfterMs: 1_000,
      });
      if (waiters.length >= waitersMax) throw late;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const waiter = { seq, resolve };
      waiters.push(waiter);
      const timer = setTimeout(() => {
        waiters = waiters.filter((each) => each !== waiter);
        reject(late);
      }, waitMsMax);
      await promise.finally(() => clearTimeout(timer));
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await following;
      clearImmediate(flushing);
      flush();
    },
  };
}

/** An archive that does not belong to this log must not be written on: either may be the one that matters. */
async function checkSameLog(bus: Bus, archive: Archive): Promise<void> {
  if (archive.seq === 0) return;
  const last = await bus.lastSeq();
  const advice = 'Restore the log, or move DATABASE_FILE away to archive this log from its start.';
  if (last < archive.seq)
    throw new Failure('conflict', `the archive holds ${archive.seq} events, the log only ${last}. ${advice}`);
  const stop = new AbortController();
  for await (const raw of bus.follow({ from: archive.seq, signal: stop.signal })) {
    if (!archive.isLast(raw)) throw new Failure('conflict', `the archive is of another log. ${advice}`);
    stop.abort();
  }
}
