import { stat } from 'node:fs/promises';
import type { Metrics } from '#shared/metrics.ts';
import { repeat } from '#shared/repeat.ts';

const everyMs = 10_000;

/** Shows the sizes of the SQLite file and of its write-ahead log. */
export function watchArchive(stack: AsyncDisposableStack, metrics: Metrics, databaseFile: string): void {
  repeat(stack, everyMs, async () => {
    for (const [file, path] of [
      ['database', databaseFile],
      ['wal', `${databaseFile}-wal`],
    ] as const) {
      const found = await stat(path).catch(() => undefined);
      if (found) metrics.archiveBytes.set({ file }, found.size);
    }
  });
}
