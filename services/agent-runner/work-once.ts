import type { Lease } from '#shared/bus/tasks.ts';

type Options = {
  /** Does a task, and tells the queue what became of it. Never rejects. */
  work(lease: Lease): Promise<void>;
  /** Whether the log says that this runner has the run. */
  isOurs(runId: string): Promise<boolean>;
};

/**
 * Begins each task once. It comes again while it is worked on here where its lease has run out: this process was stopped, or NATS was away.
 * Then the work at hand goes on with the newer lease, unless another runner had the run meanwhile: such work ends with what it records next,
 * and the task is begun anew.
 */
export function workOnce({ work, isOurs }: Options): (lease: Lease) => Promise<void> {
  const held = new Map<string, { newest: Lease }>();
  return async (lease) => {
    const { runId, dispatch } = lease.task;
    const isHeld = () => held.get(runId)?.newest.task.dispatch === dispatch;
    // Where the log cannot be read, the task is begun: that asks the log again.
    const known = isHeld() && (await isOurs(runId).catch(() => false)) && isHeld() ? held.get(runId) : undefined;
    if (known) {
      known.newest = lease;
      return lease.working();
    }
    const own = { newest: lease };
    held.set(runId, own);
    try {
      await work({
        task: lease.task,
        ack: () => own.newest.ack(),
        nak: (delayMs) => own.newest.nak(delayMs),
        working: () => own.newest.working(),
      });
    } finally {
      if (held.get(runId) === own) held.delete(runId);
    }
  };
}
