import { randomUUID } from 'node:crypto';
import type { JetStreamManager, NatsConnection } from 'nats';
import { headers } from 'nats';
import { noteSubject, notesStream } from '#shared/contracts/subjects.ts';
import { publishUntil } from './log.ts';
import { storedMessage } from './stored.ts';

const writeMsMax = 4_000;

/** What has to be known for a day by every replica, and is no fact for the log. A name has one note: the last. */
export type Notes = {
  /** Undefined: there is none. */
  read(name: string): Promise<{ text: string; revision: number } | undefined>;
  /** Answers its revision. `seen` is that of the note that it replaces, 0 for none: throws `conflict` where another was first. */
  write(name: string, text: string, seen: number): Promise<number>;
};

export const openNotes = (nc: NatsConnection, jsm: JetStreamManager): Notes => ({
  async read(name) {
    const found = await storedMessage(jsm, notesStream, { last_by_subj: noteSubject(name) });
    return found && { text: new TextDecoder().decode(found.data), revision: found.seq };
  },
  write(name, text, seen) {
    const header = headers();
    // A write whose acknowledgement was lost is repeated, and must not count as another writer's.
    header.set('Nats-Msg-Id', randomUUID());
    header.set('Nats-Expected-Last-Subject-Sequence', String(seen));
    return publishUntil(nc, noteSubject(name), text, header, writeMsMax);
  },
});
