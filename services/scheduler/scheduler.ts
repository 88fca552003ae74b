import type { Recorded } from '#shared/contracts/events.ts';
import type { RunStatus } from '#shared/domain/run.ts';
import { createAttention } from './attention.ts';
import type { Board, Touched } from './board.ts';
import { apply } from './board.ts';
import { createCircleFinder } from './circle.ts';
import type { Counts } from './counts.ts';
import { createCounts } from './counts.ts';
import type { Action, Limits } from './due.ts';
import { dueForAgent, dueForRun } from './due.ts';
import type { Caps } from './keys.ts';
import { createLanes } from './lanes.ts';
import type { CheckRules } from './registered.ts';
import { createCheck } from './registered.ts';

/** `ahead`: runs that may lie on the queue beyond the runners' free slots. */
export type SchedulerLimits = Limits & { caps: Caps; ahead: number; rules: CheckRules };

/** Decides who goes next. It does no I/O and has no clock: the same events and times give the same actions. */
export type Scheduler = {
  board: Board;
  /** Folds an event in, at `nowMs` (epoch milliseconds). */
  apply(event: Recorded, nowMs?: number): Touched;
  /**
   * Everything that is due at `nowMs` (epoch milliseconds) while runners have `slots` in all; each action is told once, and again
   * only when something has happened to what it is about, or after `again`.
   */
  due(nowMs: number, slots: number): Action[];
  /** An action was not done: it is looked at anew. */
  again(action: Action): void;
  /** How many runs that have not ended are whose. */
  share: Counts['share'];
  /** How many runs are as this. */
  count(status: RunStatus): number;
  /** Runs that could be at work and that no runner has begun, or gone on with. */
  backlog(): number;
  /** When the run that has been ready longest became so; undefined: none waits. */
  oldestMs(): number | undefined;
};

/** A scheduler on a board, which it keeps up from then on. */
export function createScheduler(board: Board, limits: SchedulerLimits): Scheduler {
  const attention = createAttention(board);
  const lanes = createLanes(limits.caps, (id) => board.active.get(id)?.parent?.runId);
  const circleOf = createCircleFinder(board.active, lanes.rivals);
  const counts = createCounts(board);
  const check = createCheck(limits.rules);
  /** Runs that were dispatched here at this version, until the log shows it. */
  const dispatched = new Map<string, number>();

  const lookAtAgent = (id: string, nowMs: number): Action[] => {
    const agent = board.agents.get(id);
    if (!agent) return [];
    const { actions, lookMs } = dueForAgent(agent, board, nowMs, limits);
    if (lookMs !== undefined) attention.later('agent', id, lookMs);
    return actions;
  };
  const lookAtRun = (id: string, nowMs: number): Action[] => {
    const run = board.active.get(id);
    if (!run || dispatched.get(id) === run.version) return [];
    dispatched.delete(id);
    const { action: due, state, lookMs, dueMs } = dueForRun(run, board, nowMs, limits);
    const circle = due || state !== 'ready' ? undefined : circleOf(run);
    const action = circle ? ({ do: 'fail', run, error: circle } as const) : due;
    if (lookMs !== undefined) attention.later('run', id, lookMs);
    lanes.hold(run, state === 'at-work' ? state : run.startedAt === null ? 'none' : 'parked');
    if (state === 'ready' && !action) lanes.add(run, dueMs);
    else lanes.remove(id);
    return action ? [action] : [];
  };
  const dispatch = (slots: number): Action[] => {
    const unstarted = counts.of('dispatched') + dispatched.size;
    const room = Math.max(0, slots - counts.of('running')) + limits.ahead - unstarted;
    const actions: Action[] = [];
    for (let run = room > 0 ? lanes.take() : undefined; run; run = actions.length < room ? lanes.take() : undefined) {
      dispatched.set(run.id, run.version);
      actions.push({ do: 'dispatch', run, reason: run.retries > 0 ? `try ${run.retries + 1}` : 'its turn has come' });
    }
    return actions;
  };

  return {
    board,
    apply(event, nowMs) {
      const touched = apply(board, event, check, nowMs);
      attention.touched(touched);
      counts.touched(touched);
      const { run, ended } = touched;
      if (!run || !ended) return touched;
      dispatched.delete(run.id);
      lanes.remove(run.id);
      lanes.hold(run, 'none');
      return touched;
    },
    due(nowMs, slots) {
      const { agent, run } = attention.take(nowMs);
      return [
        ...agent.flatMap((id) => lookAtAgent(id, nowMs)),
        ...run.flatMap((id) => lookAtRun(id, nowMs)),
        ...dispatch(slots),
      ];
    },
    again(action) {
      if ('agent' in action) return attention.add('agent', action.agent.id);
      dispatched.delete(action.run.id);
      attention.add('run', action.run.id);
    },
    ...{ share: counts.share, count: counts.of, oldestMs: lanes.oldestMs },
    backlog: () => lanes.size() + counts.of('dispatched') + dispatched.size,
  };
}
