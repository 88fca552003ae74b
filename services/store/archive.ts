import type { RawEvent, Reading } from '#shared/bus/log-event.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { parseEvent } from '#shared/contracts/events.ts';
import type { Logger } from '#shared/log.ts';
import { chainStart, link } from './chain.ts';
import type { Database } from './database.ts';
import { isDamage, openMeta } from './database.ts';
import type { Archived } from './uses.ts';
import { openViews } from './views.ts';

/** The log in SQLite: every event by its sequence, chained by hashes, and folded into views in the same transaction. */
export type Archive = {
  readonly db: Database;
  /** Names this file, and its consumer on the log. */
  readonly id: string;
  /** Sequence of the last event that is committed and in the views; 0 for none. */
  readonly seq: number;
  /** The chain's last link. */
  readonly head: Uint8Array;
  /** Commits events that follow on `seq` without a gap: all of them or none. Throws SQLite's error, e.g. for a full disk. */
  commit(messages: readonly RawEvent[]): void;
  /** What lies in the log and is no event that counts: how many there are, and the last of them. */
  odd(): { count: number; last: { seq: number; subject: string } | null };
  /** The exact bytes of an event; undefined where there is none, or none that can be read: the audit says so. */
  bytesAt(seq: number): Buffer | undefined;
  [Symbol.dispose](): void;
};

type Row = { seq: number; subject: string; bytes: Buffer; hash: Buffer };
const rebuildBatch = 2_000;
const decoder = new TextDecoder();

/** Opens the archive; views of another version, or that lag behind the events, are folded first. `read`: see `readMessage` of the bus. */
export function openArchive(db: Database, read: (raw: RawEvent) => Reading, logger: Logger): Archive {
  const meta = openMeta(db);
  const views = openViews(db, meta);
  const last = db
    .prepare<[], Pick<Row, 'seq' | 'hash'>>('SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1')
    .get();
  let seq = last?.seq ?? 0;
  let head: Uint8Array = last?.hash ?? chainStart;
  const insert = db.prepare('INSERT INTO events (seq, subject, type, bytes, hash, place) VALUES (?, ?, ?, ?, ?, ?)');

  const insertOdd = db.prepare('INSERT INTO odd_messages (seq, subject) VALUES (?, ?)');
  const countOdd = db.prepare<[], { count: number; seq: number | null; subject: string | null }>(
    'SELECT count(*) AS count, max(seq) AS seq, subject FROM odd_messages',
  );

  const fold = (archived: Archived, event: Recorded | undefined) => {
    try {
      views.apply(archived, event);
    } catch (error) {
      logger.error({ seq: archived.seq, err: error }, 'a bug: an event could not be folded and is not in the views');
    }
  };
  const commit = db.transaction((messages: readonly RawEvent[]) => {
    let next = seq;
    let hash = head;
    for (const message of messages) {
      next += 1;
      if (message.seq !== next) throw new Error(`event ${message.seq} does not follow on ${next - 1}`);
      hash = link(hash, message.seq, message.bytes);
      const reading = read(message);
      const { subject, type } = factsOf(reading, message.bytes);
      // Where an event lies in the log follows from what it says.
      const place = 'event' in reading ? null : message.subject;
      insert.run(message.seq, subject, type, message.bytes, hash, place);
      if ('odd' in reading) insertOdd.run(message.seq, message.subject);
      else fold({ seq: message.seq, subject, bytes: message.bytes }, 'event' in reading ? reading.event : undefined);
    }
    views.flush(next);
    return { next, hash };
  });

  catchUp(db, views.seq(), seq, logger, (rows) => {
    for (const { seq: at, subject, bytes } of rows)
      if (subject !== '') fold({ seq: at, subject, bytes }, eventOf({ seq: at, bytes }));
    views.flush(rows.at(-1)?.seq ?? 0);
  });

  return {
    db,
    id: meta.get('archive') ?? '',
    get seq() {
      return seq;
    },
    get head() {
      return head;
    },
    commit(messages) {
      try {
        const done = commit(messages);
        seq = done.next;
        head = done.hash;
      } catch (error) {
        views.forget();
        throw error;
      }
    },
    odd() {
      const { count = 0, seq: at, subject } = countOdd.get() ?? {};
      return { count, last: at && subject ? { seq: at, subject } : null };
    },
    bytesAt: createBytesAt(db),
    [Symbol.dispose]: () => void db.close(),
  };
}

function createBytesAt(db: Database) {
  const one = db.prepare<[number], Pick<Row, 'bytes'>>('SELECT bytes FROM events WHERE seq = ?');
  return (seq: number) => {
    try {
      return one.get(seq)?.bytes;
    } catch (error) {
      if (isDamage(error)) return undefined;
      throw error;
    }
  };
}

function catchUp(db: Database, from: number, to: number, logger: Logger, apply: (rows: Row[]) => void): void {
  if (from >= to) return;
  logger.info({ from, to }, 'folding the views anew from the events');
  const select = db.prepare<[number, number], Row>(
    'SELECT seq, subject, bytes, hash FROM events WHERE seq > ? ORDER BY seq LIMIT ?',
  );
  const batch = db.transaction(apply);
  for (let at = from; at < to; ) {
    const rows = select.all(at, rebuildBatch);
    batch(rows);
    at = rows.at(-1)?.seq ?? to;
  }
}

/** Subject and type, for the index; what is no event is kept under none. */
function factsOf(reading: Reading, bytes: Uint8Array): { subject: string; type: string } {
  if ('event' in reading) return reading.event;
  if ('newer' in reading) {
    const { subject } = JSON.parse(decoder.decode(bytes));
    return { subject: typeof subject === 'string' ? subject : '', type: reading.newer };
  }
  return { subject: '', type: '' };
}

/** An archived event; undefined for what a newer version wrote. */
function eventOf({ seq, bytes }: Pick<Row, 'seq' | 'bytes'>): Recorded | undefined {
  try {
    return { ...parseEvent(JSON.parse(decoder.decode(bytes))), seq };
  } catch {
    return undefined;
  }
}
