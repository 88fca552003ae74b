import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { RawEvent } from '#shared/bus/log-event.ts';
import type { Restorer } from '#shared/bus/restore.ts';
import { Failure } from '#shared/errors.ts';
import type { Reader } from './reader.ts';
import type { Comparison } from './same-log.ts';
import { adviceOn, compareLog } from './same-log.ts';
import { verifyChain } from './verify.ts';

/**
 * What may be done to the log. `fill`: put back what it has lost at its end, and nothing else: see `isSafe`. `remake`: where it has holes, too,
 * make it anew. `replace`: also where it holds something else, which is first written to a file.
 */
export type Means = 'fill' | 'remake' | 'replace';

const scanBatch = 256;

/**
 * To fill up is safe without a person, because nothing can be lost by it: the log's last event is byte for byte the archive's at the same
 * sequence, as are those that were looked at before it, so nothing was appended since it lost its end; until a store has found both the same
 * nobody appends; and if somebody did all the same, each event is taken only behind the one before, and the rest is refused.
 */
const isSafe = ({ is }: Comparison) => is === 'short';

/** Mends the log from an archive, and answers in a sentence what was done; undefined: nothing. Throws `conflict` with advice where it may not. */
export async function mendLog(
  archive: Reader,
  log: Restorer,
  means: Means,
  tailFile: string,
): Promise<string | undefined> {
  const found = await compareLog(archive, log);
  const tail = readTail(tailFile);
  if (found.is === 'same' && tail.length === 0) return undefined;
  if (isSafe(found)) {
    const filled = await log.fill((from, limit) => archive.rows(from, limit));
    return `The log lacked ${filled} events at its end, which the archive holds; they are back at their places.`;
  }
  const isAllowed = means === 'replace' || (means === 'remake' && (found.is === 'damaged' || tail.length > 0));
  if (found.is === 'early' || !isAllowed)
    throw new Failure('conflict', found.is === 'same' ? 'the log is being made anew' : adviceOn(found));
  return remake(archive, log, means, tailFile, tail);
}

/** Makes the log anew: the archive's events, and behind them what only the log has, which lies in a file until then. */
async function remake(
  archive: Reader,
  log: Restorer,
  means: Means,
  tailFile: string,
  known: RawEvent[],
): Promise<string> {
  const verdict = await verifyChain(archive.db);
  if (!verdict.intact)
    throw new Failure('conflict', `the archive is damaged at event ${verdict.brokenAt}: the log is not made from it`);
  const { others, tail: found } = await scan(archive, log);
  if (others.length > 0 && means !== 'replace') throw new Failure('conflict', adviceOn(differing(archive, others)));
  const tail = known.length > 0 ? known : found;
  const only = others.length > 0 ? [...others, ...tail] : [];
  let said = '';
  if (only.length > 0) {
    const file = `${tailFile}-replaced-${Date.now()}.jsonl`;
    writeTail(file, only);
    said = ` ${only.length} events that only the log had are in ${file}.`;
  }
  const rest = only.length > 0 ? [] : tail;
  if (rest.length > 0) writeTail(tailFile, rest);
  await log.empty();
  const filled = await log.fill((from, limit) =>
    from <= archive.seq ? archive.rows(from, limit) : rest.filter(({ seq }) => seq >= from).slice(0, limit),
  );
  rmSync(tailFile, { force: true });
  // They are of the log that it was: nobody is to wait for what they hold.
  if (only.length > 0)
    for (const { id, seq } of await log.archives.list()) if (seq > filled) await log.archives.forget(id);
  return `The log was made anew from the archive: ${filled} events, each at its sequence.${said}`;
}

const differing = (archive: Reader, [first]: RawEvent[]) => ({
  is: 'other' as const,
  archived: archive.seq,
  what: `event ${first?.seq} is another than the archive's`,
});

/** Reads the whole log: what it holds in the place of an archived event, and what comes after the archive's end. */
async function scan(archive: Reader, log: Restorer): Promise<{ others: RawEvent[]; tail: RawEvent[] }> {
  const { firstSeq, lastSeq } = await log.logSight();
  const others: RawEvent[] = [];
  const tail: RawEvent[] = [];
  for (let from = Math.max(1, firstSeq); from <= lastSeq; from += scanBatch) {
    const sequences = Array.from({ length: Math.min(scanBatch, lastSeq - from + 1) }, (_, index) => from + index);
    const messages = await log.messagesAt(sequences);
    for (const [index, message] of messages.entries()) {
      const seq = from + index;
      if (!message && seq > archive.seq)
        throw new Failure(
          'conflict',
          `event ${seq} is in neither: the log has lost it, and the archive ends with ${archive.seq}`,
        );
      if (!message) continue;
      if (seq > archive.seq) tail.push(message);
      else if (!archive.bytesAt(seq)?.equals(message.bytes)) others.push(message);
    }
  }
  return { others, tail };
}

/** The file outlives a crash between the old log and the new one. */
function writeTail(file: string, events: readonly RawEvent[]): void {
  const lines = events.map(({ seq, subject, bytes }) =>
    JSON.stringify({ seq, subject, bytes: Buffer.from(bytes).toString('base64') }),
  );
  writeFileSync(`${file}.new`, `${lines.join('\n')}\n`, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
}

function readTail(file: string): RawEvent[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const { seq, subject, bytes } = JSON.parse(line) as { seq: number; subject: string; bytes: string };
      return { seq, subject, bytes: Buffer.from(bytes, 'base64') };
    });
}
