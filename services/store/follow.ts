import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Archive } from './archive.ts';
import type { Inlet } from './inlet.ts';

const pullBatch = 2_000;
const retryMs = 1_000;

/** Copies the log into the archive by a durable consumer of its own: an event is acknowledged once it is committed. */
export async function followLog(bus: Bus, archive: Archive, inlet: Inlet, logger: Logger): Promise<AsyncDisposable> {
  const consumer = `store-${archive.id}`;
  await bus.declareArchive(consumer, archive.seq + 1);
  const stop = new AbortController();
  const { signal } = stop;

  const following = (async () => {
    while (!signal.aborted) {
      const gap = new AbortController();
      const pulled = bus.pullArchive(consumer, pullBatch, AbortSignal.any([signal, gap.signal]), (delivery) => {
        if (inlet.take(delivery) === 'gap') gap.abort();
      });
      await pulled.catch((error) => pause(logger, error));
      while (inlet.state() !== 'ok' && !signal.aborted) {
        await delay(retryMs);
        inlet.flush();
      }
      if (!gap.signal.aborted || signal.aborted) continue;
      // The consumer is further than this file, which may be a backup: it starts anew from what is here.
      inlet.forget();
      logger.warn({ seq: archive.seq }, 'events are missing between the archive and its consumer; reading them again');
      await bus.resetArchive(consumer, archive.seq + 1).catch((error) => pause(logger, error));
    }
  })();

  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await following;
      inlet.flush();
      inlet.forget();
    },
  };
}

async function pause(logger: Logger, error: unknown): Promise<void> {
  logger.warn({ reason: messageOf(error) }, 'the log could not be read; trying again');
  await delay(retryMs);
}
