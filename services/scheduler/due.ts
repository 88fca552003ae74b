import type { Work } from '#shared/contracts/agent.ts';
import { timetableOf } from '#shared/contracts/agent.ts';
import type { Decided } from '#shared/contracts/approval.ts';
import type { DataOf, RunError } from '#shared/contracts/events.ts';
import type { Agent } from '#shared/domain/agent.ts';
import { notRegistered } from '#shared/domain/registered.ts';
import type { Run } from '#shared/domain/run.ts';
import { heldMsOf, waitsForPerson } from '#shared/domain/run.ts';
import { worksOf } from '#shared/domain/works.ts';
import type { Occasion } from '#shared/occasion.ts';
import { isPassedOver, nextTime, occasionOf } from '#shared/occasion.ts';
import type { Board } from './board.ts';
import { isTime, timeKey, workKey } from './board.ts';

const circleCheckMs = 5_000;

/** Times in seconds; `quarantineAfter`: failures in a row, 0 for never. */
export type Limits = { spawnTimeoutS: number; workstreamTimeoutS: number; quarantineAfter: number };

/** What the scheduler does next: each is one append to the log (and for `dispatch` a task on the queue). */
export type Action =
  | { do: 'queue'; agent: Agent; work: Work; occasion: Occasion }
  | { do: 'quarantine'; agent: Agent; reason: string }
  | { do: 'dispatch'; run: Run; reason: string }
  | { do: 'put-back'; run: Run; error: RunError; at: string }
  | { do: 'fail'; run: Run; error: RunError }
  | { do: 'cancel'; run: Run; reason: string }
  | { do: 'expire'; run: Run; decided: Decided }
  | { do: 'tell-parent'; run: Run; ended: DataOf<'toka.run.child-ended.v1'> };

/** What is due for an agent now, and when to look at it again. Times are epoch milliseconds. */
export function dueForAgent(agent: Agent, board: Board, nowMs: number, limits: Limits) {
  if (agent.status !== 'active') return { actions: [], lookMs: undefined };
  const failures = board.failures.get(agent.id) ?? 0;
  if (limits.quarantineAfter > 0 && failures >= limits.quarantineAfter) {
    const reason = `its last ${failures} runs have failed (QUARANTINE_AFTER); see what they say, then resume it`;
    return { actions: [{ do: 'quarantine', agent, reason } as const], lookMs: undefined };
  }
  const timetable = timetableOf(agent.spec);
  const actions = worksOf(agent.spec).flatMap((work) => dueForWork(agent, work, board, nowMs));
  return { actions, lookMs: timetable && nextTime(timetable, nowMs) };
}

/** A work whose present occasion has no run yet. */
function dueForWork(agent: Agent, work: Work, board: Board, nowMs: number): Action[] {
  const occasion = occasionOf(agent, work.id, nowMs);
  const latest = board.latest.get(workKey(agent.id, work.id));
  if (!occasion || latest?.since === occasion.since || board.active.has(occasion.runId)) return [];
  const queue = { do: 'queue', agent, work, occasion } as const;
  const timetable = timetableOf(agent.spec);
  if (!timetable) return [queue];
  // The clock was set back: that time had its run.
  if (latest && latest.since > occasion.since && isTime(latest)) return [];
  if (isPassedOver(timetable, occasion.since, latest?.endedAt ?? null, nowMs)) return [];
  const running = latest && isTime(latest) ? board.active.get(latest.runId) : undefined;
  if (!running) return [queue];
  const reason = 'its schedule has come round again, and says that this ends the run before (overlap)';
  return timetable.overlap === 'cancel' ? [{ do: 'cancel', run: running, reason }] : [];
}

/** What is due for a run: an action, or how it stands, and when to look at it again though nothing happens. */
export type Due = {
  action?: Action;
  state: 'ready' | 'at-work' | 'parked' | 'waiting';
  lookMs?: number;
  dueMs: number;
};

export function dueForRun(run: Run, board: Board, nowMs: number, limits: Limits): Due {
  const action = endOf(run, board, nowMs, limits) ?? newsFor(run, board, nowMs);
  const startMs = startOf(run);
  const dueMs = Math.max(startMs, run.status === 'waiting' ? timeOf(run.retryAt) : 0);
  // When it was queued says nothing of when it may go: that clock may be ahead of this one.
  const readyMs = timeOf(run.status === 'waiting' ? run.retryAt : run.runAt);
  const looks = [
    ...(run.status === 'dispatched' ? [timeOf(run.dispatchedAt) + limits.spawnTimeoutS * 1000] : []),
    ...(waitsForPerson(run) ? [] : [startMs + heldMsOf(run, nowMs) + limits.workstreamTimeoutS * 1000]),
    ...run.approvals.filter(({ decided }) => decided === null).map(({ expiresAt }) => timeOf(expiresAt)),
    readyMs,
    // Which of a circle's runs closes it, by parking, cannot be told.
    ...(run.parent && run.startedAt === null ? [nowMs + circleCheckMs] : []),
  ].filter((ms) => ms > nowMs);
  const lookMs = looks.length > 0 ? Math.min(...looks) : undefined;
  return { ...(action && { action }), state: stateOf(run, board, readyMs <= nowMs), ...(lookMs && { lookMs }), dueMs };
}

const timeOf = (time: string | null) => (time === null ? 0 : Date.parse(time));
/** From when on it could have been at work. */
const startOf = (run: Run) => Math.max(timeOf(run.queuedAt), timeOf(run.runAt));

function stateOf(run: Run, board: Board, hasCome: boolean): Due['state'] {
  if (run.status === 'dispatched' || run.status === 'running') return 'at-work';
  const isStarted = run.startedAt !== null;
  const isDue = hasCome && (run.status === 'waiting' ? run.retryAt !== null : isReady(run, board));
  const mayGo = isDue && run.status !== 'paused' && board.agents.get(run.agentId)?.status === 'active';
  if (mayGo) return 'ready';
  return isStarted ? 'parked' : 'waiting';
}

const isReady = (run: Run, board: Board) =>
  run.status === 'queued' && dependenciesOf(run, board).every(({ status }) => status === 'completed');

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

/** What ends a run, or puts it back, whatever a runner does. */
function endOf(run: Run, board: Board, nowMs: number, limits: Limits): Action | undefined {
  const refused = board.refused.get(run.id);
  if (refused !== undefined) return { do: 'fail', run, error: { code: notRegistered, message: refused } };
  const agent = board.agents.get(run.agentId);
  if (!agent || agent.status === 'removed') return { do: 'cancel', run, reason: 'its agent was removed' };
  if (run.parent && !board.active.has(run.parent.runId))
    return { do: 'cancel', run, reason: 'the run that asked for it has ended' };
  // It does not end while a person is asked.
  const tookMs = nowMs - startOf(run) - heldMsOf(run, nowMs);
  if (!waitsForPerson(run) && tookMs >= limits.workstreamTimeoutS * 1000) {
    const message = `it had not ended ${limits.workstreamTimeoutS} s after it was queued (WORKSTREAM_TIMEOUT)`;
    return { do: 'fail', run, error: { code: 'workstream-timeout', message } };
  }
  if (run.status === 'dispatched' && nowMs - timeOf(run.dispatchedAt) >= limits.spawnTimeoutS * 1000) {
    const message = `no runner started it within ${limits.spawnTimeoutS} s (AGENT_SPAWN_TIMEOUT); is an agent-runner up, with a free slot?`;
    // One that was never begun keeps its place.
    const at = new Date(run.startedAt === null ? startOf(run) : nowMs).toISOString();
    return { do: 'put-back', run, error: { code: 'spawn-timeout', message }, at };
  }
  if (run.status !== 'queued') return undefined;
  if (run.trigger === 'objective' && agent.since[run.work.id]?.eventId !== run.since) {
    return { do: 'cancel', run, reason: 'the work was changed or taken out before it was begun' };
  }
  const broken = dependenciesOf(run, board).find(({ status }) => status === 'failed' || status === 'cancelled');
  if (!broken) return undefined;
  const message = `it waits for ${broken.name}, which has ${broken.status}`;
  return { do: 'fail', run, error: { code: 'dependency-failed', message } };
}

type Dependency = { name: string; status: Run['status'] | undefined };

/** What a run waits for: works of its own agent on the same occasion, and all works of other agents. Ad-hoc and delegated runs wait for nothing. */
function dependenciesOf(run: Run, board: Board): Dependency[] {
  if (run.trigger === 'api' || run.trigger === 'delegate') return [];
  const inside = run.work.dependsOn.map((workId) => ({
    name: `"${workId}"`,
    status:
      run.trigger === 'schedule'
        ? board.times.get(timeKey(run.agentId, workId, run.since))
        : statusOf(board, run.agentId, workId),
  }));
  const outside = run.work.dependsOnAgents.flatMap((name): Dependency[] => {
    const agent = board.agents.get(name);
    if (!agent || agent.status === 'removed') return [{ name: `agent "${name}"`, status: undefined }];
    return worksOf(agent.spec).map(({ id }) => ({
      name: `"${id}" of agent "${name}"`,
      status: statusOf(board, name, id),
    }));
  });
  return [...inside, ...outside];
}

/** How a work's newest run stands; undefined where that is for another occasion than the present. */
function statusOf(board: Board, agentId: string, workId: string): Run['status'] | undefined {
  const latest = board.latest.get(workKey(agentId, workId));
  const agent = board.agents.get(agentId);
  if (!latest || !agent) return undefined;
  const isPresent = timetableOf(agent.spec) !== undefined || latest.since === agent.since[workId]?.eventId;
  return isPresent ? latest.status : undefined;
}

/** The agents that a run waits for something of: when one of these changes, the run is looked at again. */
export const waitsFor = (run: Run): string[] =>
  run.status === 'queued' && run.trigger !== 'api' && run.trigger !== 'delegate'
    ? [...(run.work.dependsOn.length > 0 ? [run.agentId] : []), ...run.work.dependsOnAgents]
    : [];
