import { stat } from 'node:fs/promises';
import type { Metrics } from '#shared/metrics.ts';
import { repeat } from '#shared/repeat.ts';
import type { Archive } from './archive.ts';

const everyMs = 10_000;

/** Shows the sizes of the SQLite file and of its write-ahead log, and what lies in the log that is no event. */
export function watchArchive(
  stack: AsyncDisposableStack,
  metrics: Metrics,
  databaseFile: string,
  archive: Pick<Archive, 'odd'>,
): void {
  repeat(stack, everyMs, async () => {
    metrics.archiveOdd.set(archive.odd().count);
    for (const [file, path] of [
      ['database', databaseFile],
      ['wal', `${databaseFile}-wal`],
    ] as const) {
      const found = await stat(path).catch(() => undefined);
      if (found) metrics.archiveBytes.set({ file }, found.size);
    }
  });
}
