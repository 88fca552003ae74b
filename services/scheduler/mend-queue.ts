import type { Bus } from '#shared/bus/bus.ts';
import type { Logger } from '#shared/log.ts';
import type { Board } from './board.ts';

/**
 * Looks for runs that are under way but have no task, because their dispatcher died between the two, and gives them one again. Only a
 * run that was so the last time, too, and to which nothing has happened since: others are on their way to the queue or from it.
 */
export function createQueueMender(bus: Bus, logger: Logger, board: Board): () => Promise<void> {
  let seen = new Map<string, number>();
  return async () => {
    const underWay = [...board.active.values()].filter(
      ({ id, status }) => (status === 'dispatched' || status === 'running') && !board.refused.has(id),
    );
    const queued = underWay.length > 0 ? await bus.tasks.queued() : new Set<string>();
    const missing = underWay.filter(({ id, version }) => !queued.has(id) && board.active.get(id)?.version === version);
    for (const run of missing.filter(({ id, version }) => seen.get(id) === version)) {
      logger.warn({ runId: run.id }, 'a run was under way without a task; it is put on the queue again');
      await bus.tasks.add(
        run.work.priority,
        { runId: run.id, dispatch: run.dispatch },
        `${run.id}-${run.version}-${Date.now()}`,
      );
    }
    seen = new Map(missing.map(({ id, version }) => [id, version]));
  };
}
