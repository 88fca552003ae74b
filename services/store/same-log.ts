import type { ArchiveEnd, Archives } from '#shared/bus/archives.ts';
import type { RawEvent } from '#shared/bus/log-event.ts';
import type { LogLook } from '#shared/bus/log-messages.ts';

/** The archive, as far as it is compared: its last sequence, and the bytes at any. */
export type Archived = { seq: number; bytesAt(seq: number): Buffer | undefined };

/**
 * How the log stands to the archive. `same`: nothing is missing. `short`: it ends earlier, and up to there it is the archive's. `damaged`: it is
 * this log, with holes or empty. `other`: it holds something else where the archive has an event. `early`: it begins after the archive's end.
 * `behind`: this archive misses nothing, but one had come further than the log.
 */
export type Comparison =
  | { is: 'same' }
  | { is: 'short'; last: number; archived: number }
  | { is: 'damaged' | 'other' | 'early'; what: string; archived: number }
  | { is: 'behind'; last: number; archived: number; further: ArchiveEnd };

const probesMax = 16;

/** Compares what can be compared at once: ends, counts, and a few events between. The audit reads every event. */
export async function compareLog(archive: Archived, log: LogLook): Promise<Comparison> {
  const archived = archive.seq;
  const { firstSeq, lastSeq, messages } = await log.logSight();
  if (lastSeq === 0 && archived === 0) return { is: 'same' };
  if (lastSeq === 0) return { is: 'damaged', archived, what: `it is empty, and the archive holds ${archived} events` };
  const held = archived === 0 ? 'holds none' : `ends with ${archived}`;
  if (messages === 0 && archived > 0)
    return { is: 'damaged', archived, what: `it has none of its ${lastSeq} events, and the archive ${held}` };
  if (firstSeq > archived + 1)
    return { is: 'early', archived, what: `it begins with event ${firstSeq}, and the archive ${held}` };
  for (const [seq, found] of await probe(log, firstSeq, Math.min(archived, lastSeq))) {
    // It has left the log meanwhile.
    if (!found && seq < (await log.logSight()).firstSeq) return compareLog(archive, log);
    if (!found) return { is: 'damaged', archived, what: `event ${seq} is missing or cannot be read` };
    const bytes = archive.bytesAt(seq);
    if (bytes && !found.equals(bytes))
      return { is: 'other', archived, what: `event ${seq} is another than the archive's` };
  }
  const missing = firstSeq > lastSeq ? 0 : lastSeq - firstSeq + 1 - messages;
  if (missing > 0)
    return { is: 'damaged', archived, what: `${missing} events between its first and its last are missing` };
  return lastSeq < archived ? { is: 'short', last: lastSeq, archived } : { is: 'same' };
}

/**
 * The same, and whether the log has all that any archive had when it was last heard of, however long ago: a log does not shrink. What was told
 * of this one, and is not in it, was in a file whose place it has taken.
 */
export async function compareWithAll(
  archive: Archived,
  log: LogLook & { archives: Pick<Archives, 'list'> },
): Promise<Comparison> {
  // Before the log's end: an archive that takes an event meanwhile must not seem to be ahead of it.
  const ends = await log.archives.list();
  const own = await compareLog(archive, log);
  const [further] = ends.toSorted((one, other) => other.seq - one.seq);
  if (own.is !== 'same' || !further) return own;
  const { lastSeq: last } = await log.logSight();
  return further.seq > last ? { is: 'behind', last, archived: archive.seq, further } : own;
}

/** The last event that both should have, and some before it. */
async function probe(log: LogLook, from: number, to: number): Promise<[number, Buffer | undefined][]> {
  if (from > to) return [];
  const step = Math.max(1, Math.floor((to - from) / (probesMax - 1)));
  const sequences = new Set([to]);
  for (let seq = from; seq < to && sequences.size < probesMax; seq += step) sequences.add(Math.max(1, seq));
  const found = await log.messagesAt([...sequences]);
  return [...sequences].map((seq, index) => [seq, buffer(found[index])]);
}

const buffer = (message: RawEvent | undefined) => message && Buffer.from(message.bytes);

/** What a person should know of a log that may not be written on, and what to do. */
export function adviceOn(comparison: Exclude<Comparison, { is: 'same' }>): string {
  const { is, archived } = comparison;
  switch (is) {
    case 'short':
      return `the log ends with event ${comparison.last}, and the archive holds ${archived - comparison.last} more: nats-server has lost them, as after a power cut. npm start and the container keeper put them back at their places by themselves, or "toka log restore" does`;
    case 'behind': {
      const { id, seq, time } = comparison.further;
      return `the log ends with event ${comparison.last}, and an archive, ${id}, had come to event ${seq} at ${time}: nats-server has lost what lies between, as after a power cut. Start the store that has it, and "toka log restore" with its DATABASE_FILE puts it back. If that file is gone, "toka log archives --forget ${id}" goes on without these events`;
    }
    case 'damaged':
      return `the log is damaged: ${comparison.what}. "toka log restore" makes it anew from the archive, once it has found that the archive is whole and holds everything that the log still has`;
    case 'other':
      return `the log is not the archive's: ${comparison.what}. If NATS_URL or DATABASE_FILE leads to the wrong one, mend that. To keep the archive's ${archived} events, "toka log restore --replace" makes the log anew from them, and first writes what only the log has to a file. To go on with the log as it is, move DATABASE_FILE away: what only the archive holds is then in that file alone (where events have left the log, another store, or its file, has to have them)`;
    case 'early':
      return `the archive is too old for this log: ${comparison.what}, so what lies between is in neither, and no other store answers that has it. Start one that has (it is then taken from there), or put a newer copy of the archive in its place: another store's file, or that of a backup`;
  }
}
