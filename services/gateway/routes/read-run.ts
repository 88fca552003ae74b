import { foldRun } from '#shared/command.ts';
import type { RunView } from '#shared/contracts/store.ts';
import { getRun } from '#shared/contracts/store.ts';
import { runView } from '#shared/domain/views.ts';
import { Failure } from '#shared/errors.ts';
import type { TenantBus } from '../tenant-bus.ts';

/** A run from the archive, or from the log where the archive is not there yet, or is away. */
export const readRun = (bus: TenantBus, id: string, minSeq: number | undefined): Promise<RunView> =>
  bus.ask(getRun, { id, minSeq }).catch((error) => {
    const elsewhere = error instanceof Failure && (error.code === 'not-found' || error.code === 'unavailable');
    if (!elsewhere) throw error;
    return runFromLog(bus, id);
  });

export async function runFromLog(bus: TenantBus, id: string): Promise<RunView> {
  const run = foldRun(await bus.read('run', id));
  if (!run) throw new Failure('not-found', `there is no run "${id}"`);
  return runView(run);
}
