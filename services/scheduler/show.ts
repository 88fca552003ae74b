import { priorities } from '#shared/contracts/ids.ts';
import type { SchedulingView } from '#shared/contracts/scheduling.ts';
import { agentStatuses } from '#shared/domain/agent.ts';
import { runStatuses } from '#shared/domain/run.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Scheduler } from './scheduler.ts';

const openStatuses = runStatuses.slice(0, 5);

/** How scheduling stands, for people. */
export function view({ board, count, backlog }: Scheduler, slots: number, leader: string | null): SchedulingView {
  const { session } = board;
  const ended = session ? session.completed + session.failed : 0;
  return {
    leader,
    session: session && { ...session, progress: session.queued === 0 ? 0 : Math.min(1, ended / session.queued) },
    phase: phaseOf(board),
    backlog: backlog(),
    slots,
    runs: Object.fromEntries(openStatuses.map((status) => [status, count(status)])),
  };
}

function phaseOf({ active }: Scheduler['board']): SchedulingView['phase'] {
  const levels = active.values().map(({ work }) => priorities.indexOf(work.priority));
  const level = levels.reduce((least, each) => Math.min(least, each), priorities.length);
  return (['critical', 'high', 'rest', 'rest', 'idle'] as const)[level] ?? 'idle';
}

/** How scheduling stands, for Prometheus. */
export function showMetrics(metrics: Metrics, { board, count, oldestMs }: Scheduler, leads: boolean): void {
  const nowMs = Date.now();
  metrics.leader.set(leads ? 1 : 0);
  metrics.oldestWaitSeconds.set(Math.max(0, nowMs - (oldestMs() ?? nowMs)) / 1000);
  for (const status of openStatuses) metrics.runsByStatus.set({ status }, count(status));
  const agents = Map.groupBy(board.agents.values(), ({ status }) => status);
  for (const status of agentStatuses) metrics.agents.set({ status }, agents.get(status)?.length ?? 0);
}
