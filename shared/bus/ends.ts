import type { JetStreamManager } from 'nats';
import { eventsStream } from '#shared/contracts/subjects.ts';

/**
 * From which sequence to which the log goes. It begins at 1 until its oldest events have left it for the archive alone; where it has none, `first`
 * is the sequence of the next.
 */
export type Ends = {
  now(): Promise<{ first: number; last: number }>;
  /** Where it began some seconds ago at most: for who has seen the rest within the last hour, for nothing younger leaves. */
  firstLately(): Promise<number>;
};

const knownMsMax = 5_000;

export function createEnds(jsm: JetStreamManager): Ends {
  let known = { first: 1, atMs: Number.NEGATIVE_INFINITY };
  const now = async () => {
    const atMs = performance.now();
    const { first_seq: first, last_seq: last } = (await jsm.streams.info(eventsStream)).state;
    // A log that was never written on says 0 (nats-server 2.9 and 2.15).
    known = { first: Math.max(1, first), atMs };
    return { first: known.first, last };
  };
  return {
    now,
    firstLately: async () => (performance.now() - known.atMs < knownMsMax ? known.first : (await now()).first),
  };
}
