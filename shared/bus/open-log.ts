import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { eventsStream } from '#shared/contracts/subjects.ts';
import type { ArchivedOptions, ArchivedPart } from './archived.ts';
import { readArchived } from './archived.ts';
import type { FollowedEvent, FollowOptions } from './follow.ts';
import { follow } from './follow.ts';
import type { Gate } from './gate.ts';
import type { History, Source } from './history.ts';
import { readAt, readFirst, readHistory } from './history.ts';
import { append } from './log.ts';
import type { RawEvent } from './log-event.ts';
import { getStored } from './stored.ts';

/** The log: what is in the stream, and what has left it for the archive alone. */
export type Log = {
  /** Appends to the log: see `append` in log.ts. */
  append(event: TokaEvent, expected?: number, deadlineMs?: number): Promise<number>;
  /** The entity's events in order: see `readHistory` in history.ts. */
  read(entity: Entity, id: string, from?: number, until?: number): Promise<Recorded[]>;
  /** The entity's first event; undefined where it has none. */
  first(entity: Entity, id: string): Promise<Recorded | undefined>;
  /** As `read`, with the sequences that the next appends expect. */
  history(entity: Entity, id: string, part?: { from: number; decisionsFrom: number }): Promise<History>;
  readAt(sequences: readonly number[]): Promise<Recorded[]>;
  /** Of the log's last event, or of the last on `subject` that the stream has, which may have wildcards; 0 for none. */
  lastSeq(subject?: string): Promise<number>;
  follow(options: FollowOptions): AsyncGenerator<FollowedEvent>;
  /** What the log held, from any store's archive: see archived.ts. */
  archived(part: ArchivedPart, options?: ArchivedOptions): AsyncGenerator<RawEvent, number>;
};

export function openLog(source: Source & { gate: Gate }): Log {
  const { nc, ends } = source;
  return {
    append: (event, expected, deadlineMs = 60_000) => append(source, event, expected, deadlineMs),
    read: async (entity, id, from, until) => (await readHistory(source, { entity, id, from, until })).events,
    first: (entity, id) => readFirst(source, entity, id),
    history: (entity, id, part) => readHistory(source, { entity, id, ...part }),
    readAt: (sequences) => readAt(source, sequences),
    lastSeq: async (subject) =>
      subject === undefined
        ? (await ends.now()).last
        : ((await getStored(nc, eventsStream, { last_by_subj: subject }))?.seq ?? 0),
    follow: (options) => follow(nc, ends, options),
    archived: (part, options) => readArchived(nc, part, options),
  };
}
