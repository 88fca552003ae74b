import type { LogLook } from '#shared/bus/log-messages.ts';
import type { Archived } from './same-log.ts';

const batch = 256;

/** How the whole log compares with the archive: events that it lacks, and the first that is another. */
export type WholeComparison = {
  checked: number;
  missing: number;
  firstMissing: number | null;
  differsAt: number | null;
};

/** Reads every event of the log that the archive should hold, some at a time. What left the log by its age is not missing. */
export async function compareWhole(archive: Archived, log: LogLook, until: number): Promise<WholeComparison> {
  const { firstSeq, lastSeq } = await log.logSight();
  const found: WholeComparison = { checked: 0, missing: 0, firstMissing: null, differsAt: null };
  const last = Math.min(lastSeq, until);
  const miss = (seq: number, count: number) => {
    found.missing += count;
    found.firstMissing ??= seq;
  };
  for (let from = Math.max(firstSeq, 1); from <= last; from += batch) {
    const sequences = Array.from({ length: Math.min(batch, last - from + 1) }, (_, index) => from + index);
    for (const [index, message] of (await log.messagesAt(sequences)).entries()) {
      const seq = from + index;
      found.checked += 1;
      // It may have left the log meanwhile.
      if (!message && seq >= (await log.logSight()).firstSeq) miss(seq, 1);
      if (message && archive.bytesAt(seq)?.equals(message.bytes) === false) found.differsAt ??= seq;
    }
  }
  if (lastSeq < until) miss(lastSeq + 1, until - lastSeq);
  return found;
}
