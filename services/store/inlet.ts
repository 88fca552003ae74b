import type { FollowedEvent } from '#shared/bus/follow.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Archive } from './archive.ts';
import type { Guard } from './guard.ts';

const waitMsMax = 2_000;
/** Far behind the log, commits are fewer and larger: as many events, or what has come in this time. */
const backlogBatch = 1_000;
const backlogMs = 10;
/** How soon what SQLite refused is tried again. */
const retryMs = 1_000;
const waitersMax = 10_000;

/** What stands between the log and the archive. */
export type Inlet = {
  /** Takes the next message of the log. False: those before it are missing, and it was not taken. */
  take(message: FollowedEvent): boolean;
  /** Commits what was taken. */
  flush(): void;
  /** Commits for the last time. */
  close(): void;
  /** `ok`, or what keeps events from being archived. */
  state(): string;
  /** Resolves once the archive holds `seq`. Throws `unavailable` when that takes longer than two seconds. */
  reach(seq: number): Promise<void>;
};

/** Batches by nature: whatever has come while the last commit was on its way is the next one. */
export function createInlet(archive: Archive, metrics: Metrics, logger: Logger, guard: Guard): Inlet {
  let queue: FollowedEvent[] = [];
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
      archive.commit(queue);
    } catch (error) {
      if (state === 'ok') logger.error({ err: error }, 'events cannot be written to SQLite; trying again');
      state = `SQLite: ${messageOf(error)}`;
      metrics.archiveLag.set(queue.length + last.pending);
      flushing = later(flush, retryMs);
      return;
    }
    state = 'ok';
    metrics.archiveCommitSeconds.observe((performance.now() - startedMs) / 1000);
    metrics.archiveEvents.inc(queue.length);
    metrics.archiveSeq.set(archive.seq);
    metrics.archiveLag.set(last.pending);
    queue = [];
    waiters.reached(archive.seq);
  };

  guard.onChange(() => {
    // What came of a log that is not the archive's.
    if (guard.state() !== 'ok') queue = [];
    flush();
  });

  return {
    take(message) {
      const { seq, pending } = message;
      const next = archive.seq + queue.length + 1;
      if (seq < next) return true;
      if (seq > next) {
        state = `the log has no event ${next}, only ${seq}: nothing after it is archived`;
        return false;
      }
      queue.push(message);
      if (state !== 'ok') return true;
      if (queue.length >= backlogBatch) flush();
      else flushing ??= pending > backlogBatch ? later(flush, backlogMs) : soon(flush);
      return true;
    },
    flush,
    close() {
      flush();
      flushing?.();
    },
    state: () => state,
    reach: async (seq) => (seq <= archive.seq ? undefined : waiters.until(seq, archive.seq)),
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
    async until(seq: number, now: number) {
      const late = new Failure('unavailable', `the archive is at ${now} and not yet at ${seq}`, {
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
  };
}

/** Both answer how to call it off. */
function soon(work: () => void): () => void {
  const timer = setImmediate(work);
  return () => clearImmediate(timer);
}

function later(work: () => void, ms: number): () => void {
  const timer = setTimeout(work, ms);
  return () => clearTimeout(timer);
}
