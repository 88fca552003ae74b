import type { Bus } from '#shared/bus/bus.ts';
import type { Logger } from '#shared/log.ts';
import type { Board } from './board.ts';

/** A run that is under way but has no task, because its dispatcher died between the two: it gets its task again. */
export async function mendQueue(bus: Bus, logger: Logger, board: Board): Promise<void> {
  const suspects = [...board.active.values()].filter(({ status }) => status === 'dispatched' || status === 'running');
  if (suspects.length === 0) return;
  const queued = await bus.tasks.queued();
  for (const run of suspects) {
    // The board may have moved on meanwhile: only what is still under way.
    if (queued.has(run.id) || board.active.get(run.id)?.version !== run.version) continue;
    logger.warn({ runId: run.id }, 'a run was under way without a task; it is put on the queue again');
    await bus.tasks.add(run.work.priority, { runId: run.id }, `${run.id}-${run.version}-${Date.now()}`);
  }
}
