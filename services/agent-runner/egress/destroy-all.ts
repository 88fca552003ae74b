import type { Duplex } from 'node:stream';

/** Destroys them all, and waits until they are gone. */
export async function destroyAll(streams: Iterable<Duplex>, error?: Error): Promise<void> {
  const closings = [...streams].map((stream) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (stream.closed) resolve();
    stream.once('close', resolve).destroy(error);
    return promise;
  });
  await Promise.all(closings);
}
