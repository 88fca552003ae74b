import type { Work } from '#shared/contracts/agent.ts';
import type { Decided } from '#shared/contracts/approval.ts';
import type { DataOf, RunError } from '#shared/contracts/events.ts';
import { priorities } from '#shared/contracts/ids.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Run, RunStatus } from '#shared/domain/run.ts';
import { worksOf } from '#shared/domain/works.ts';
import type { Occasion } from '#shared/occasion.ts';
import { occasionOf } from '#shared/occasion.ts';
import type { Board } from './board.ts';

export type PlanLimits = { queuedMax: number; spawnTimeoutS: number; workstreamTimeoutS: number };

/** What the scheduler does next: each is one append to the log (and for `dispatch` a task on the queue). */
export type Action =
  | { do: 'queue'; agent: Agent; work: Work; occasion: Occasion }
  | { do: 'dispatch'; run: Run; reason: string }
  | { do: 'put-back'; run: Run; error: RunError; at: string }
  | { do: 'fail'; run: Run; error: RunError }
  | { do: 'cancel'; run: Run; reason: string }
  | { do: 'expire'; run: Run; decided: Decided }
  | { do: 'tell-parent'; run: Run; ended: DataOf<'toka.run.child-ended.v1'> };

/** Everything that is due on this board at this time (epoch milliseconds). Pure: the same board and time give the same plan. */
export function plan(board: Board, nowMs: number, limits: PlanLimits): Action[] {
  const ended: Action[] = [];
  const ready: Run[] = [];
  for (const run of board.active.values()) {
    const action = endOf(run, board, nowMs, limits) ?? newsFor(run, board, nowMs);
    if (action) ended.push(action);
    else if (isReady(run, board, nowMs)) ready.push(run);
  }
  return [...toQueue(board, nowMs), ...ended, ...toDispatch(ready, board, limits)];
}

/** What a run that waits can be told: that nobody has answered in time, or that a run which it asked for has ended. */
function newsFor(run: Run, board: Board, nowMs: number): Action | undefined {
  const late = run.approvals.find(({ decided, expiresAt }) => decided === null && Date.parse(expiresAt) <= nowMs);
  if (late) {
    const answer = late.kind === 'question' && late.default !== undefined ? { answer: late.default } : {};
    const decided = { approvalId: late.id, decision: 'expired' as const, reason: 'nobody answered in time', ...answer };
    return { do: 'expire', run, decided };
  }
  for (const child of run.children) {
    const ended = child.ended ? undefined : board.endedChildren.get(child.runId);
    if (ended) return { do: 'tell-parent', run, ended };
  }
  return undefined;
}

/** Works whose present occasion has no run yet. */
function toQueue(board: Board, nowMs: number): Action[] {
  const actions: Action[] = [];
  for (const agent of board.agents.values()) {
    if (agent.status !== 'active') continue;
    for (const work of worksOf(agent.spec)) {
      const occasion = occasionOf(agent, work.id, nowMs);
      if (!occasion || statusOf(board, occasion.runId)) continue;
      // A schedule that comes round before the last run has ended waits for it.
      if (occasion.trigger === 'schedule' && isUnderWay(board, agent.id, work.id)) continue;
      actions.push({ do: 'queue', agent, work, occasion });
    }
  }
  return actions;
}

const statusOf = (board: Board, runId: string): RunStatus | undefined =>
  board.active.get(runId)?.status ?? board.ended.get(runId);

const isUnderWay = (board: Board, agentId: string, workId: string) =>
  board.active.values().some((run) => run.agentId === agentId && run.work.id === workId && run.trigger === 'schedule');

/** What ends a run, or puts it back, whatever a runner does. */
function endOf(run: Run, board: Board, nowMs: number, limits: PlanLimits): Action | undefined {
  const agent = board.agents.get(run.agentId);
  if (!agent || agent.status === 'removed') return { do: 'cancel', run, reason: 'its agent was removed' };
  if (run.parent && board.ended.has(run.parent.runId))
    return { do: 'cancel', run, reason: 'the run that asked for it has ended' };
  // Time that a person takes is not the run's.
  const waitsForPerson = run.status === 'paused' || run.approvals.some(({ decided }) => decided === null);
  if (!waitsForPerson && nowMs - Date.parse(run.queuedAt) > limits.workstreamTimeoutS * 1000) {
    const message = `it had not ended ${limits.workstreamTimeoutS} s after it was queued (WORKSTREAM_TIMEOUT)`;
    return { do: 'fail', run, error: { code: 'workstream-timeout', message } };
  }
  const late =
    run.status === 'dispatched' &&
    run.dispatchedAt &&
    nowMs - Date.parse(run.dispatchedAt) > limits.spawnTimeoutS * 1000;
  if (late) {
    const message = `no runner started it within ${limits.spawnTimeoutS} s (AGENT_SPAWN_TIMEOUT); is an agent-runner up, with a free slot?`;
    return { do: 'put-back', run, error: { code: 'spawn-timeout', message }, at: new Date(nowMs).toISOString() };
  }
  if (run.status !== 'queued') return undefined;
  if (run.trigger === 'objective' && agent.since[run.work.id]?.eventId !== run.since) {
    return { do: 'cancel', run, reason: 'the work was changed or taken out before it was begun' };
  }
  const broken = dependenciesOf(run, board, nowMs).find(({ status }) => status === 'failed' || status === 'cancelled');
  if (!broken) return undefined;
  return {
    do: 'fail',
    run,
    error: { code: 'dependency-failed', message: `it waits for ${broken.name}, which has ${broken.status}` },
  };
}

function isReady(run: Run, board: Board, nowMs: number): boolean {
  if (board.agents.get(run.agentId)?.status !== 'active') return false;
  if (run.status === 'waiting') return run.retryAt !== null && Date.parse(run.retryAt) <= nowMs;
  return run.status === 'queued' && dependenciesOf(run, board, nowMs).every(({ status }) => status === 'completed');
}

/** When the run that waits longest for a runner was queued or became due again, in epoch milliseconds; undefined: none waits. */
export function waitingSince(board: Board, nowMs: number): number | undefined {
  const times = [...board.active.values()].flatMap((run) => {
    if (run.status !== 'dispatched' && !isReady(run, board, nowMs)) return [];
    return [Date.parse((run.status === 'waiting' ? run.retryAt : undefined) ?? run.queuedAt)];
  });
  return times.length > 0 ? times.reduce((a, b) => Math.min(a, b)) : undefined;
}

type Dependency = { name: string; status: RunStatus | undefined };

/** What a run waits for: works of its own agent on the same occasion, and all works of other agents. Ad-hoc and delegated runs wait for nothing. */
function dependenciesOf(run: Run, board: Board, nowMs: number): Dependency[] {
  if (run.trigger === 'api' || run.trigger === 'delegate') return [];
  const own = board.agents.get(run.agentId);
  const statusOfWork = (agent: Agent, workId: string) => {
    const occasion = occasionOf(agent, workId, nowMs);
    return occasion && statusOf(board, occasion.runId);
  };
  const inside = run.work.dependsOn.map((workId) => ({
    name: `"${workId}"`,
    status: own && statusOfWork(own, workId),
  }));
  const outside = run.work.dependsOnAgents.flatMap((name): Dependency[] => {
    const agent = board.agents.get(name);
    if (!agent || agent.status === 'removed') return [{ name: `agent "${name}"`, status: undefined }];
    return worksOf(agent.spec).map((work) => ({
      name: `"${work.id}" of agent "${name}"`,
      status: statusOfWork(agent, work.id),
    }));
  });
  return [...inside, ...outside];
}

/** The most urgent ready runs, one per agent at a time, as far as the queue may be filled: its backlog stays in the log. */
function toDispatch(ready: Run[], board: Board, { queuedMax }: PlanLimits): Action[] {
  const busy = new Set<string>();
  let queued = 0;
  for (const run of board.active.values()) {
    if (run.status === 'dispatched' || run.status === 'running') busy.add(run.agentId);
    if (run.status === 'dispatched') queued += 1;
  }
  const urgency = (run: Run) => priorities.indexOf(run.work.priority);
  const inOrder = ready.toSorted(
    (a, b) => urgency(a) - urgency(b) || a.queuedAt.localeCompare(b.queuedAt) || a.id.localeCompare(b.id),
  );
  const actions: Action[] = [];
  for (const run of inOrder) {
    if (queued + actions.length >= queuedMax) break;
    if (busy.has(run.agentId)) continue;
    busy.add(run.agentId);
    actions.push({ do: 'dispatch', run, reason: run.retries > 0 ? `try ${run.retries + 1}` : 'its turn has come' });
  }
  return actions;
}
