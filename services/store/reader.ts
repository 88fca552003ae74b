import { existsSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { jsonOf } from '#shared/bus/json.ts';
import type { RawEvent } from '#shared/bus/log-event.ts';
import { parseEvent, subjectOf } from '#shared/contracts/events.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { chainStart, link } from './chain.ts';
import type { Database } from './database.ts';
import type { Archived } from './same-log.ts';

/** An archive that is only read, whether a store has it open or not. */
export type Reader = Archived & {
  db: Database;
  /** The events from `from` on. Throws `conflict` where one is missing, or is not the one that the chain holds. */
  rows(from: number, limit: number): RawEvent[];
  [Symbol.dispose](): void;
};

type Row = { seq: number; bytes: Buffer; hash: Buffer; place?: string | null };

/** Opens the file at `file`; undefined where there is none. Throws `conflict` where it cannot be read. */
export function openReader(file: string): Reader | undefined {
  if (!existsSync(file)) return undefined;
  try {
    const db = new Sqlite(file, { readonly: true, fileMustExist: true });
    db.pragma('busy_timeout = 2000');
    return createReader(db, file);
  } catch (error) {
    throw new Failure('conflict', `the archive ${file} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

function createReader(db: Database, file: string): Reader {
  const last = db.prepare<[], Pick<Row, 'seq'>>('SELECT seq FROM events ORDER BY seq DESC LIMIT 1').get();
  const one = db.prepare<[number], Pick<Row, 'bytes' | 'hash'>>('SELECT bytes, hash FROM events WHERE seq = ?');
  const many = db.prepare<[number, number], Row>('SELECT * FROM events WHERE seq >= ? ORDER BY seq LIMIT ?');
  const broken = (seq: number) =>
    new Failure(
      'conflict',
      `event ${seq} of the archive ${file} is not what was archived: its hash chain is broken there`,
    );
  return {
    db,
    seq: last?.seq ?? 0,
    bytesAt: (seq) => one.get(seq)?.bytes,
    rows(from, limit) {
      let head: Uint8Array | undefined = from === 1 ? chainStart : one.get(from - 1)?.hash;
      return many.all(from, limit).map(({ seq, bytes, hash, place }, index) => {
        const next = head && link(head, seq, bytes);
        if (seq !== from + index || !next?.equals(hash)) throw broken(from + index);
        head = next;
        return { seq, subject: place ?? placeOf(bytes), bytes };
      });
    },
    [Symbol.dispose]: () => void db.close(),
  };
}

/** Where an event lies follows from what it says. What was no event, and was archived before that was noted, is put aside. */
export function placeOf(bytes: Uint8Array): string {
  try {
    return subjectOf(parseEvent(jsonOf(bytes)));
  } catch {
    return entitySubject('system', 'unknown');
  }
}
