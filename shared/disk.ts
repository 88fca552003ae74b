import { statfs } from 'node:fs/promises';
import type { Metrics } from './metrics.ts';
import { repeat } from './repeat.ts';

const everyMs = 10_000;

/** Shows how much room is left where this instance writes: `volumes` names its folders. One that is not there yet is passed over. */
export function watchDisk(stack: AsyncDisposableStack, metrics: Metrics, volumes: Record<string, string>): void {
  repeat(stack, everyMs, async () => {
    for (const [volume, folder] of Object.entries(volumes)) {
      const found = await statfs(folder).catch(() => undefined);
      if (!found) continue;
      metrics.diskFree.set({ volume }, found.bavail * found.bsize);
      metrics.diskSize.set({ volume }, found.blocks * found.bsize);
    }
  });
}
