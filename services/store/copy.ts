import { existsSync } from 'node:fs';
import Sqlite from 'better-sqlite3';
import { hashesIn } from '#shared/contracts/artifact.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { chainStart } from './chain.ts';
import type { Question } from './uses.ts';
import { selectNeeded } from './uses.ts';
import { verifyChain } from './verify.ts';

/** What an archive holds: the sequence of its last event, and what the chain comes to there. */
export type Extent = { seq: number; chainHead: string };

/**
 * Copies the archive at `file` to `target` while a store writes on: all that was committed at one moment, and nothing of what came later. Not
 * by SQLite's online backup, which begins anew with each commit of another connection. The copy has no name: the store that opens it gives it
 * one of its own, or two archives would speak as one.
 */
export function copyArchive(file: string, target: string): void {
  if (!existsSync(file)) throw new Failure('not-found', `there is no archive ${file}`);
  try {
    const db = new Sqlite(file, { readonly: true });
    try {
      db.pragma('busy_timeout = 10000');
      db.prepare('VACUUM INTO ?').run(target);
    } finally {
      db.close();
    }
    const copy = new Sqlite(target);
    try {
      copy.prepare(`DELETE FROM meta WHERE key = 'archive'`).run();
    } finally {
      copy.close();
    }
  } catch (error) {
    throw new Failure('unavailable', `the archive ${file} could not be copied: ${messageOf(error)}`, { cause: error });
  }
}

/** Checks an archive's whole chain. Throws `conflict` where it is broken. */
export async function extentOf(file: string): Promise<Extent> {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  try {
    const { intact, brokenAt, checked: seq, chainHead } = await verifyChain(db);
    if (!intact) throw new Failure('conflict', `the hash chain of ${file} is broken at event ${brokenAt}`);
    return { seq, chainHead: seq === 0 ? Buffer.from(chainStart).toString('hex') : chainHead };
  } finally {
    db.close();
  }
}

/** Those of some artifacts that are needed still, as the archive at `file` has it; all, where an earlier version wrote it. */
export function neededIn(file: string, question: Question): string[] {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  try {
    const isKnown = db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'uses'").get() !== undefined;
    return isKnown ? selectNeeded(db, question) : [...question.hashes];
  } finally {
    db.close();
  }
}

/** The hashes of all artifacts that an archive's events name. */
export function* artifactsIn(file: string): Generator<string> {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true });
  const seen = new Set<string>();
  try {
    const rows = db.prepare<[], { bytes: Buffer }>(`SELECT bytes FROM events WHERE instr(bytes, '"sha256":"') > 0`);
    for (const { bytes } of rows.iterate()) for (const sha256 of hashesIn(bytes.toString('utf8'))) seen.add(sha256);
  } finally {
    db.close();
  }
  yield* seen;
}
