import { existsSync } from 'node:fs';
import { openRestorer } from '#shared/bus/bus.ts';
import type { Means } from '../../../services/store/mend-log.ts';
import type { Admin } from './admin.ts';

/** Puts back into the log what an archive holds and it has lost; answers what was done, undefined: nothing was to do. Throws where it may not. */
export async function mendLogFrom(databaseFile: string, admin: Admin, means: Means): Promise<string | undefined> {
  if (!existsSync(databaseFile)) return undefined;
  // SQLite is loaded only where there is something to compare.
  const { openReader } = await import('../../../services/store/reader.ts');
  const { mendLog } = await import('../../../services/store/mend-log.ts');
  await using log = await openRestorer({ ...admin, name: 'restore', leaseMs: 30_000, replicas: 1 });
  using archive = openReader(databaseFile);
  return archive && (await mendLog(archive, log, means, `${databaseFile}-tail`));
}
