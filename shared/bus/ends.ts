import type { NatsConnection } from 'nats';
import { decodeTime } from 'ulid';
import { eventsStream } from '#shared/contracts/subjects.ts';
import { getEnds } from './stored.ts';

/**
 * Nothing younger leaves the log: see shared/keeper/trim-log.ts. Whoever counts on it does so for half as long at most, for clocks differ.
 */
export const youngMs = 3_600_000;

/** Whether what belongs to this id came so lately that none of it can have left the log: an id of ours has its time in it. */
export function isYoung(id: string): boolean {
  const ulid = /^[a-z]{3}_([0-7][0-9A-HJKMNP-TV-Z]{25})$/.exec(id)?.[1];
  // One of a later time, such as a scheduled run's, was made before.
  return ulid !== undefined && Math.abs(Date.now() - decodeTime(ulid)) < youngMs / 2;
}

/**
 * From which sequence to which the log goes. It begins at 1 until its oldest events have left it for the archive alone; where it has none, `first`
 * is the sequence of the next.
 */
export type Ends = {
  now(): Promise<{ first: number; last: number }>;
  /** Whether anything from `seq` on may have left the log. What came lately cannot, so that mostly nobody has to be asked. */
  mayHaveLeft(seq: number): Promise<boolean>;
};

export function createEnds(nc: NatsConnection): Ends {
  /** The log's last event as of some time within the last half an hour: all that came behind it is young. */
  let mark: { last: number; steadyMs: number; clockMs: number } | undefined;
  // A machine that sleeps may stop the one clock, and somebody may set the other.
  const isFresh = ({ steadyMs, clockMs }: NonNullable<typeof mark>) =>
    Math.max(performance.now() - steadyMs, Math.abs(Date.now() - clockMs)) < youngMs / 2;
  const now = async () => {
    const at = { steadyMs: performance.now(), clockMs: Date.now() };
    const { first, last } = await getEnds(nc, eventsStream);
    if (!mark || !isFresh(mark)) mark = { last, ...at };
    // A log that was never written on says 0 (nats-server 2.9 and 2.15).
    return { first: Math.max(1, first), last };
  };
  return {
    now,
    mayHaveLeft: async (seq) => !(mark && seq > mark.last && isFresh(mark)) && (await now()).first > seq,
  };
}
