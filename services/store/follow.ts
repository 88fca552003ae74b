import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Archive } from './archive.ts';
import type { Inlet } from './inlet.ts';

/** Events at hand at a time at most. */
const batch = 2_000;
const retryMs = 1_000;
const waitMs = 100;

/** Copies the log into the archive from where the archive ends: that is the only position, so nothing is skipped or doubled after a crash. */
export async function followLog(bus: Bus, archive: Archive, inlet: Inlet, logger: Logger): Promise<AsyncDisposable> {
  await checkSameLog(bus, archive);
  const stop = new AbortController();
  const { signal } = stop;

  const following = (async () => {
    while (!signal.aborted) {
      try {
        for await (const message of bus.follow({ from: archive.seq + 1, batch, signal })) {
          if (!inlet.take(message)) break;
          // What SQLite does not take is tried again by the inlet; nothing more is read meanwhile.
          while (inlet.state() !== 'ok' && !signal.aborted) await delay(waitMs);
        }
      } catch (error) {
        logger.error({ err: error }, 'the log could not be followed; trying again');
      }
      inlet.flush();
      if (!signal.aborted) await delay(retryMs);
    }
  })();

  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await following;
      inlet.close();
    },
  };
}

/** An archive that does not belong to this log must not be written on: either may be the one that matters. */
async function checkSameLog(bus: Bus, archive: Archive): Promise<void> {
  if (archive.seq === 0) return;
  const last = await bus.lastSeq();
  const advice = 'Restore the log, or move DATABASE_FILE away to archive this log from its start.';
  if (last < archive.seq)
    throw new Failure('conflict', `the archive holds ${archive.seq} events, the log only ${last}. ${advice}`);
  const stop = new AbortController();
  for await (const raw of bus.follow({ from: archive.seq, signal: stop.signal })) {
    if (!archive.isLast(raw)) throw new Failure('conflict', `the archive is of another log. ${advice}`);
    stop.abort();
    break;
  }
}
