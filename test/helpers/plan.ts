import type { Board } from '../../services/scheduler/board.ts';
import type { Action } from '../../services/scheduler/due.ts';
import type { SchedulerLimits } from '../../services/scheduler/scheduler.ts';
import { createScheduler } from '../../services/scheduler/scheduler.ts';

export type PlanLimits = Omit<SchedulerLimits, 'caps'> & Partial<SchedulerLimits['caps']> & { slots: number };

export const planLimits: PlanLimits = {
  ahead: 4,
  slots: 0,
  spawnTimeoutS: 60,
  workstreamTimeoutS: 3_600,
  quarantineAfter: 0,
  rules: { since: 0, maxTokens: 2_000_000, validation: 'strict' },
  criticalAlone: false,
};

/** What a scheduler that begins with this board does first. */
export const planOf = (board: Board, nowMs: number, changes: Partial<PlanLimits> = {}): Action[] =>
  createScheduler(board, schedulerLimits(changes)).due(nowMs, changes.slots ?? planLimits.slots);

export function schedulerLimits(changes: Partial<PlanLimits> = {}): SchedulerLimits {
  const {
    workstreams = new Map(),
    models = new Map(),
    criticalAlone = false,
    ...limits
  } = { ...planLimits, ...changes };
  return { ...limits, caps: { workstreams, models, criticalAlone } };
}
