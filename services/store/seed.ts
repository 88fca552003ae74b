import type { Bus } from '#shared/bus/bus.ts';
import type { RawEvent } from '#shared/bus/log-event.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Archive } from './archive.ts';

const batch = 500;
/** Another store that is there answers at once; it may start at the same time. */
const patienceMs = 3_000;

/** Takes from another store what has left the log before this archive had it. False: none has it, as far as they answer. */
export async function seed(
  bus: Pick<Bus, 'logSight' | 'archived'>,
  archive: Archive,
  logger: Logger,
): Promise<boolean> {
  const { firstSeq } = await bus.logSight();
  const from = archive.seq + 1;
  const part = { from, until: firstSeq - 1, holds: firstSeq - 1 };
  let taken: RawEvent[] = [];
  const commit = () => {
    archive.commit(taken);
    taken = [];
  };
  try {
    for await (const message of bus.archived(part, { patienceMs })) {
      if (taken.length === 0 && archive.seq + 1 === from)
        logger.info(part, 'the log begins after the end of this archive: taking what lies between from another store');
      taken.push(message);
      if (taken.length === batch) commit();
    }
    commit();
    return true;
  } catch (error) {
    if (error instanceof Failure && (error.code === 'unavailable' || error.code === 'timeout')) return false;
    throw error;
  }
}
