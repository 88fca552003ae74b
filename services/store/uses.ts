import { hashesIn } from '#shared/contracts/artifact.ts';
import type { EventType, Recorded } from '#shared/contracts/events.ts';
import { hasEnded, runStatuses } from '#shared/domain/run.ts';
import type { Database } from './database.ts';

/** What was archived, and is an event or what a newer version wrote. */
export type Archived = { seq: number; subject: string; bytes: Uint8Array };

/** Who names which artifacts: one row for each run that does, however often. */
export const usesTables = `
  -- run: '' for an event of none. seq: the last that names it. delivered: when it last was a deliverable.
  CREATE TABLE uses (
    artifact BLOB NOT NULL, run TEXT NOT NULL, seq INTEGER NOT NULL, delivered TEXT,
    PRIMARY KEY (artifact, run)
  ) WITHOUT ROWID;
  CREATE TABLE forks (origin TEXT NOT NULL, run TEXT NOT NULL, PRIMARY KEY (origin, run)) WITHOUT ROWID;
`;
export const usesNames = ['uses', 'forks'];

/** What runs hand in and leave behind for people. */
const delivering: ReadonlySet<EventType> = new Set(['toka.run.deliverable-submitted.v1', 'toka.run.workspace-kept.v1']);
const mark = Buffer.from('"sha256":"');

/**
 * Notes what an event names, by its bytes: so nothing is missed that a newer version of Toka puts into events. Most name none, and cost one
 * look through their bytes.
 */
export function openUses(db: Database): (archived: Archived, event: Recorded | undefined) => void {
  const note = db.prepare(
    `INSERT INTO uses VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
     seq = excluded.seq, delivered = coalesce(excluded.delivered, delivered)`,
  );
  const noteFork = db.prepare('INSERT OR IGNORE INTO forks VALUES (?, ?)');
  return ({ seq, subject, bytes }, event) => {
    const run = subject.startsWith('run/') ? subject.slice('run/'.length) : '';
    if (event?.type === 'toka.run.queued.v1' && event.data.forkOf) noteFork.run(event.data.forkOf.runId, run);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!text.includes(mark)) return;
    const delivered = event && delivering.has(event.type) ? event.time : null;
    for (const sha256 of hashesIn(text.toString('utf8'))) note.run(Buffer.from(sha256, 'hex'), run, seq, delivered);
  };
}

export type Question = { hashes: readonly string[]; firstSeq: number; deliveredSince: string | null };

const ended = runStatuses.flatMap((status) => (hasEnded({ status }) ? [`'${status}'`] : [])).join(', ');

/** A run that is not known is taken for one that goes on: what is kept too long can still be taken away. */
const goesOn = (run: string) => `coalesce((SELECT status NOT IN (${ended}) FROM runs WHERE id = ${run}), TRUE)`;

/** A fork's conversation begins with that of the run that it was forked from, and so on back. */
const heirsGoOn = `EXISTS (
  WITH RECURSIVE heirs (run) AS (
    SELECT forks.run FROM forks WHERE origin = uses.run
    UNION SELECT forks.run FROM forks JOIN heirs ON origin = heirs.run
  )
  SELECT 1 FROM heirs WHERE ${goesOn('heirs.run')})`;

/** Those of some artifacts that are needed still: see `listNeeded`. */
export function selectNeeded(db: Database, { hashes, firstSeq, deliveredSince }: Question): string[] {
  const rows = db
    .prepare<[string, number, string], { sha256: string }>(
      `SELECT DISTINCT lower(hex(artifact)) AS sha256 FROM uses
       WHERE artifact IN (SELECT unhex(value) FROM json_each(?))
       AND (seq >= ? OR delivered >= ? OR run <> '' AND (${goesOn('uses.run')} OR ${heirsGoOn}))`,
    )
    .all(JSON.stringify(hashes), firstSeq, deliveredSince ?? '');
  return rows.map(({ sha256 }) => sha256);
}
