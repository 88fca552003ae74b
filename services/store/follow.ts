import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import type { Logger } from '#shared/log.ts';
import type { Archive } from './archive.ts';
import type { Guard } from './guard.ts';
import type { Inlet } from './inlet.ts';

/** Events at hand at a time at most. */
const batch = 2_000;
const retryMs = 1_000;
const waitMs = 100;

/** Copies the log into the archive from where the archive ends: that is the only position, so nothing is skipped or doubled after a crash. */
export async function followLog(
  bus: Bus,
  archive: Archive,
  inlet: Inlet,
  guard: Guard,
  logger: Logger,
): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const { signal } = stop;

  // A log that is not the archive's is left alone; once it is mended, it is read from where the archive ends.
  let round = new AbortController();
  guard.onChange(() => {
    if (guard.state() !== 'ok') round.abort();
  });

  const following = (async () => {
    while (!signal.aborted) {
      round = new AbortController();
      const either = AbortSignal.any([signal, round.signal]);
      try {
        for await (const message of bus.follow({ from: archive.seq + 1, batch, signal: either })) {
          if (!inlet.take(message)) break;
          // What SQLite does not take is tried again by the inlet; nothing more is read meanwhile.
          while (inlet.state() !== 'ok' && !either.aborted) await delay(waitMs);
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
