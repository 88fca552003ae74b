import type { Bus } from '#shared/bus/bus.ts';

/** How often an end that has moved is told, in milliseconds. */
export const tellMs = 10_000;
/** One that stands still is told, too: whoever asks sees that its store is there. */
const signOfLifeMs = 3_600_000;

/**
 * Says on the bus how far the archive has come, where that is news, or anew: nats-server may have forgotten. What cannot be said now is said
 * the next time: an old end is no worse than none.
 */
export function createTeller({ archives }: Pick<Bus, 'archives'>, { id, end }: { id: string; end(): number }) {
  let told = { seq: -1, atMs: 0 };
  return async ({ anew = false } = {}): Promise<void> => {
    const seq = end();
    if (!anew && seq === told.seq && performance.now() - told.atMs < signOfLifeMs) return;
    try {
      await archives.write(id, seq);
      told = { seq, atMs: performance.now() };
    } catch {
      // NATS is away, or its disk is full: others say so
    }
  };
}
