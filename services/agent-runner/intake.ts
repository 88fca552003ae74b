import type { Lease, Tasks } from '#shared/bus/tasks.ts';

type Options = {
  /** Tasks that are worked on at a time. */
  max: number;
  /** Aborted: nothing more is taken. */
  stopping: AbortSignal;
  take: Tasks['take'];
  /** Does a task, and tells the queue what became of it. Never rejects. */
  work(lease: Lease): Promise<void>;
  changed(active: number): void;
};

/** Asks the queue for as many tasks as there are free slots, at every moment: a task that comes is begun at once. */
export function startIntake({ max, stopping, take, work, changed }: Options): { ended(): Promise<void> } {
  const active = new Set<Promise<void>>();
  const asking = new Set<Promise<void>>();
  let asked = 0;
  let isPlanned = false;

  const begin = (lease: Lease) => {
    // It came while we were leaving.
    if (stopping.aborted) return lease.nak();
    const done = work(lease).finally(() => {
      active.delete(done);
      changed(active.size);
      plan();
    });
    active.add(done);
    changed(active.size);
  };
  const ask = () => {
    isPlanned = false;
    const free = max - active.size - asked;
    // While some are asked for already, more are asked for in large numbers only: each question costs as much as many tasks.
    if (stopping.aborted || free <= 0 || (asked > 0 && free < max / 4)) return;
    let open = free;
    let isOver = false;
    asked += free;
    const pulling = take(free, stopping, (lease) => {
      // One that comes after all was not waited for any more.
      if (!isOver) {
        open -= 1;
        asked -= 1;
      }
      begin(lease);
    })
      .catch(() => undefined)
      .finally(() => {
        isOver = true;
        asked -= open;
        asking.delete(pulling);
        plan();
      });
    asking.add(pulling);
  };
  /** Slots that become free together are asked for together. */
  const plan = () => {
    if (isPlanned) return;
    isPlanned = true;
    setImmediate(ask);
  };
  plan();
  return {
    async ended() {
      while (active.size + asking.size > 0) await Promise.allSettled([...active, ...asking]);
    },
  };
}
