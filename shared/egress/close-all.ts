import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/** Destroys streams, and waits until each has closed. */
export async function closeAll(streams: Iterable<Duplex>, reason?: Error): Promise<void> {
  await Promise.all(
    [...streams].map(async (each) => {
      each.destroy(reason);
      if (!each.closed) await once(each, 'close');
    }),
  );
}
