import type { RawEvent } from '#shared/bus/log.ts';
import { parseRaw } from '#shared/bus/log.ts';
import { subjectOf } from '#shared/contracts/events.ts';
import type { Logger } from '#shared/log.ts';
import { chainStart, link } from './chain.ts';
import type { Database } from './database.ts';
import { openDatabase, openMeta } from './database.ts';
import { openViews } from './views.ts';

/** An event on its way in: `subject` is the one that it lies under in the log. */
type Arrived = Pick<RawEvent, 'seq' | 'bytes'> & { subject?: string };

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
  commit(events: readonly Arrived[]): void;
  /** The exact bytes of an event; undefined where there is none. */
  bytesAt(seq: number): Buffer | undefined;
  [Symbol.dispose](): void;
};

type Row = { seq: number; bytes: Buffer; hash: Buffer };
const rebuildBatch = 2_000;
const decoder = new TextDecoder();

/** Opens the archive; views of another version, or that lag behind the events, are folded first. */
export function openArchive(file: string, logger: Logger): Archive {
  const db = openDatabase(file);
  const meta = openMeta(db);
  const views = openViews(db, meta);
  const last = db.prepare<[], Row>('SELECT seq, bytes, hash FROM events ORDER BY seq DESC LIMIT 1').get();
  const bytesAt = db.prepare<[number], Pick<Row, 'bytes'>>('SELECT bytes FROM events WHERE seq = ?');
  let seq = last?.seq ?? 0;
  let head: Uint8Array = last?.hash ?? chainStart;
  const insert = db.prepare('INSERT INTO events (seq, subject, type, bytes, hash, place) VALUES (?, ?, ?, ?, ?, ?)');

  const fold = ({ seq, bytes }: Pick<RawEvent, 'seq' | 'bytes'>) => {
    try {
      views.apply(parseRaw({ seq, bytes }));
    } catch (error) {
      // It is kept as it is; whoever wrote it is not one of ours, or newer than this.
      logger.warn({ seq, err: error }, 'an event that this version cannot read is not in the views');
    }
  };
  const commit = db.transaction((events: readonly Arrived[]) => {
    let next = seq;
    let hash = head;
    for (const event of events) {
      next += 1;
      if (event.seq !== next) throw new Error(`event ${event.seq} does not follow on ${next - 1}`);
      hash = link(hash, event.seq, event.bytes);
      const { subject, type } = factsOf(event.bytes);
      insert.run(event.seq, subject, type, event.bytes, hash, placeOf(event.subject, subject));
      fold(event);
    }
    views.flush(next);
    return { next, hash };
  });

  catchUp(db, views.seq(), seq, logger, (rows) => {
    for (const row of rows) fold(row);
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
    commit(events) {
      try {
        const done = commit(events);
        seq = done.next;
        head = done.hash;
      } catch (error) {
        views.forget();
        throw error;
      }
    },
    bytesAt: (seq) => bytesAt.get(seq)?.bytes,
    [Symbol.dispose]: () => void db.close(),
  };
}

function catchUp(db: Database, from: number, to: number, logger: Logger, apply: (rows: Row[]) => void): void {
  if (from >= to) return;
  logger.info({ from, to }, 'folding the views anew from the events');
  const select = db.prepare<[number, number], Row>('SELECT seq, bytes FROM events WHERE seq > ? ORDER BY seq LIMIT ?');
  const batch = db.transaction(apply);
  for (let at = from; at < to; ) {
    const rows = select.all(at, rebuildBatch);
    batch(rows);
    at = rows.at(-1)?.seq ?? to;
  }
}

/** Where it lies in the log, if that does not follow from its own subject: then it is none of our events. */
const placeOf = (natsSubject: string | undefined, subject: string): string | null =>
  natsSubject === undefined || natsSubject === subjectOf({ subject }) ? null : natsSubject;

/** Subject and type, for the index; bytes that are no event are kept under none. */
function factsOf(bytes: Uint8Array): { subject: string; type: string } {
  try {
    const { subject, type } = JSON.parse(decoder.decode(bytes));
    if (typeof subject === 'string' && typeof type === 'string') return { subject, type };
  } catch {
    // falls through: it is archived all the same
  }
  return { subject: '', type: '' };
}
