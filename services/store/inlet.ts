import type { Delivery } from '#shared/bus/pull.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Archive } from './archive.ts';
import type { Guard } from './guard.ts';

const waitMsMax = 2_000;
/** Far behind the log, commits are fewer and larger: as many events, or what has come in this time. */
const backlogBatch = 1_000;
const backlogMs = 10;
const waitersMax = 10_000;

/** What stands between the log and the archive. */
export type Inlet = {
  /** Takes the next event: `gap` says that those before it are missing, and it was not taken. */
  take(delivery: Delivery): 'taken' | 'known' | 'gap';
  /** Commits what was taken, and acknowledges it. */
  flush(): void;
  /** Leaves what was taken but not committed to the consumer, which brings it again. */
  forget(): void;
  /** `ok`, or what keeps events from the archive. */
  state(): string;
  /** Resolves once the archive holds `seq`. Throws `unavailable` when that takes longer than two seconds. */
  reach(seq: number): Promise<void>;
};

/** Batches by nature: whatever has come while the last commit was on its way is the next one. */
export function createInlet(archive: Archive, metrics: Metrics, logger: Logger, guard: Guard): Inlet {
  let queue: Delivery[] = [];
  let flushing: (() => void) | undefined;
  let state = guard.state();
  const waiters = createWaiters();
  metrics.archiveSeq.set(archive.seq);

  const flush = () => {
    flushing?.();
    flushing = undefined;
    const last = queue.at(-1);
    const standing = guard.state();
    if (standing !== 'ok' || !last) {
      state = standing;
      return;
    }
    const startedMs = performance.now();
    try {
      archive.commit(queue.map(({ streamSeq, subject, data }) => ({ seq: streamSeq, subject, bytes: data })));
    } catch (error) {
      if (state === 'ok') logger.error({ err: error }, 'events cannot be written to SQLite; trying again');
      state = `SQLite: ${messageOf(error)}`;
      metrics.archiveLag.set(queue.length + last.pending);
      return;
    }
    state = 'ok';
    last.ack();
    metrics.archiveCommitSeconds.observe((performance.now() - startedMs) / 1000);
    metrics.archiveEvents.inc(queue.length);
    metrics.archiveSeq.set(archive.seq);
    metrics.archiveLag.set(last.pending);
    queue = [];
    waiters.reached(archive.seq);
  };

  const forget = () => {
    flushing?.();
    flushing = undefined;
    queue = [];
  };
  // What came before the log was compared is read again: it may have been of another.
  guard.onChange(() => {
    forget();
    flush();
  });

  return {
    take(delivery) {
      const { streamSeq } = delivery;
      // A crash between commit and acknowledgement brings events again.
      if (streamSeq <= archive.seq) delivery.ack();
      const taken = archive.seq + queue.length;
      if (streamSeq <= taken) return 'known';
      if (streamSeq > taken + 1) return 'gap';
      queue.push(delivery);
      if (state !== 'ok') return 'taken';
      if (queue.length >= backlogBatch) flush();
      else flushing ??= delivery.pending > backlogBatch ? later(flush) : soon(flush);
      return 'taken';
    },
    flush,
    forget,
    state: () => state,
    async reach(seq) {
      if (seq <= archive.seq) return;
      const late = new Failure('unavailable', `the archive is at ${archive.seq} and not yet at ${seq}`, {
        retryAfterMs: 1_000,
      });
      await waiters.until(seq, late);
    },
  };
}

/** Those who wait until the archive holds what they have written. */
function createWaiters() {
  let waiters: { seq: number; resolve(): void }[] = [];
  return {
    reached(last: number) {
      const reached = waiters.filter(({ seq }) => seq <= last);
      if (reached.length > 0) waiters = waiters.filter(({ seq }) => seq > last);
      for (const { resolve } of reached) resolve();
    },
    async until(seq: number, late: Failure) {
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
  };
}

/** Both answer how to call it off. */
function soon(work: () => void): () => void {
  const timer = setImmediate(work);
  return () => clearImmediate(timer);
}

function later(work: () => void): () => void {
  const timer = setTimeout(work, backlogMs);
  return () => clearTimeout(timer);
}
