import type { Bus } from '#shared/bus/bus.ts';
import type { RawEvent } from '#shared/bus/log-event.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Archive } from './archive.ts';

const batch = 500;
const bytesMax = 8 * 1024 ** 2;
/** Another store that is there answers at once, but it may be busy, or start at the same time: without one nobody writes. */
const patienceMs = 15_000;

/**
 * Takes from another store what has left the log before this archive had it. `other`: that store has another event where this archive ends.
 * `none`: no store has it, as far as they answer.
 */
export async function seed(
  bus: Pick<Bus, 'logSight' | 'archived'>,
  archive: Archive,
  logger: Logger,
): Promise<'taken' | 'other' | 'none'> {
  const { firstSeq } = await bus.logSight();
  const own = archive.seq;
  // From the last one that both should have.
  const part = { from: Math.max(1, own), until: firstSeq - 1, holds: firstSeq - 1 };
  let taken: RawEvent[] = [];
  let bytes = 0;
  const commit = () => {
    if (taken.length > 0) archive.commit(taken);
    taken = [];
    bytes = 0;
  };
  try {
    for await (const message of bus.archived(part, { patienceMs })) {
      if (message.seq === own) {
        if (archive.bytesAt(own)?.equals(message.bytes) !== true) return 'other';
        continue;
      }
      if (archive.seq === own && taken.length === 0)
        logger.info(part, 'the log begins after the end of this archive: taking what lies between from another store');
      taken.push(message);
      bytes += message.bytes.byteLength;
      if (taken.length === batch || bytes > bytesMax) commit();
    }
    commit();
    return 'taken';
  } catch (error) {
    if (error instanceof Failure && (error.code === 'unavailable' || error.code === 'timeout')) return 'none';
    throw error;
  }
}
