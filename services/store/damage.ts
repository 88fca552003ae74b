import { existsSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { Bus } from '#shared/bus/bus.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { link } from './chain.ts';
import type { Checkpoints } from './checkpoints.ts';
import type { Database } from './database.ts';
import { isDamage, openDatabase } from './database.ts';

type Log = Pick<Bus, 'logSight' | 'messagesAt' | 'archived'>;

const checkMsMax = 600_000;

/** What SQLite itself finds wrong with its file; null: nothing. In a thread of its own, for it reads every page. */
export async function findDamage(db: Database): Promise<string | null> {
  if (db.memory) return null;
  const worker = new Worker(new URL('./quick-check.ts', import.meta.url), { workerData: db.name });
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  const late = setTimeout(() => reject(new Failure('timeout', 'SQLite did not check its file in time')), checkMsMax);
  worker.once('message', resolve).once('error', reject);
  try {
    return await promise;
  } finally {
    clearTimeout(late);
    await worker.terminate();
  }
}

const markOf = (file: string) => `${file}.damaged`;

/** Has the next start make the file anew. */
export const markDamaged = (file: string, reason: string): void =>
  file === ':memory:' ? undefined : writeFileSync(markOf(file), `${reason}\n`, { mode: 0o600 });

/**
 * Opens the archive's file. One that is damaged is moved aside, and an empty one takes its place, which is filled from the log, and
 * from another store with what has left it: if they lack none, and hold what the last checkpoint says. Throws `conflict` where they do not.
 */
export async function openWhole<T>(
  file: string,
  log: Log,
  checkpoints: Checkpoints,
  logger: Logger,
  use: (db: Database) => T,
): Promise<T> {
  let reason = existsSync(markOf(file)) ? 'an audit found it damaged' : undefined;
  if (!reason)
    try {
      return using(openDatabase(file), use);
    } catch (error) {
      if (!isDamage(error)) throw error;
      reason = messageOf(error);
    }
  await checkComplete(file, reason, log, checkpoints);
  const aside = `${file}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`;
  for (const part of ['', '-wal', '-shm']) if (existsSync(file + part)) renameSync(file + part, aside + part);
  rmSync(markOf(file), { force: true });
  logger.error(
    { aside, reason },
    'the archive was damaged: it is made anew from the log, and the damaged file is kept',
  );
  return using(openDatabase(file), use);
}

function using<T>(db: Database, use: (db: Database) => T): T {
  try {
    return use(db);
  } catch (error) {
    db.close();
    throw error;
  }
}

async function checkComplete(file: string, reason: string, log: Log, checkpoints: Checkpoints): Promise<void> {
  const { firstSeq, lastSeq, messages } = await log.logSight();
  const kept = checkpoints.last();
  const advice = `Put a backup's archive in its place (toka restore), or another store's file; what is missing in that comes from the log`;
  const refuse = (why: string) =>
    new Failure(
      'conflict',
      `DATABASE_FILE ${file} is damaged (${reason}), and is not made anew from the log: ${why}. ${advice}.`,
    );
  if (lastSeq > 0 && messages < lastSeq - firstSeq + 1) throw refuse('the log does not hold every event any more');
  if (kept && lastSeq < kept.seq) throw refuse(`it ends with event ${lastSeq}, and the archive held ${kept.seq}`);
  if (!kept && firstSeq <= 1) return;
  // What has left the log is another store's to give, and without a checkpoint that it is there.
  const head = await chainOf(log, firstSeq, kept?.seq ?? firstSeq - 1).catch((error) => {
    throw firstSeq > 1
      ? refuse(`it begins with event ${firstSeq}, and no other store answers that has those before`)
      : error;
  });
  if (kept && head !== kept.chainHead)
    throw refuse(`its first ${kept.seq} events are not those of the last checkpoint`);
}

const batch = 256;

async function chainOf(log: Log, firstSeq: number, last: number): Promise<string> {
  let head: Uint8Array = new Uint8Array(32);
  const before = Math.min(firstSeq - 1, last);
  if (before > 0)
    for await (const { seq, bytes } of log.archived({ from: 1, until: before, holds: before }))
      head = link(head, seq, bytes);
  for (let from = Math.max(1, firstSeq); from <= last; from += batch) {
    const sequences = Array.from({ length: Math.min(batch, last - from + 1) }, (_, index) => from + index);
    for (const message of await log.messagesAt(sequences)) {
      if (!message) return '';
      head = link(head, message.seq, message.bytes);
    }
  }
  return Buffer.from(head).toString('hex');
}
