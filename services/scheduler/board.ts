import type { DataOf, Recorded } from '#shared/contracts/events.ts';
import { isAgentEvent, isRunEvent } from '#shared/contracts/events.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import type { Agent } from '#shared/domain/agent.ts';
import * as agents from '#shared/domain/agent.ts';
import { notRegistered } from '#shared/domain/registered.ts';
import type { Run, RunStatus } from '#shared/domain/run.ts';
import * as runs from '#shared/domain/run.ts';
import { clip } from '#shared/text.ts';

/** The newest run of a work that has occasions: what those who depend on it look at. Times are ISO 8601. */
export type Latest = { since: string; runId: string; status: RunStatus; endedAt: string | null };

/** A stretch of work: from the first run that is queued while there is none to the end of the last. */
export type Session = { id: string; startedAt: string; queued: number; completed: number; failed: number };

/** Whether what a run was asked for by is a time of a schedule, not an event. */
export const isTime = ({ since }: Latest): boolean => !since.startsWith('evt_');

type ChildEnded = DataOf<'toka.run.child-ended.v1'>;

/** What the scheduler knows: a fold of the log. Of runs that have ended, no more than the newest of each work is kept. */
export type Board = {
  agents: Map<string, Agent>;
  /** Agents as they were before their last changes, the newest first: whoever queued a run may not have seen these. */
  former: Map<string, readonly Agent[]>;
  active: Map<string, Run>;
  /** By `workKey`. */
  latest: Map<string, Latest>;
  /** How runs of schedules stand, by `timeKey`, the last of them: works of one time may depend on each other. */
  times: Map<string, RunStatus>;
  /** What came of runs that other runs asked for, until those have been told. */
  endedChildren: Map<string, ChildEnded>;
  /** Who queued them, by run. */
  queuedBy: Map<string, string>;
  /** Why runs are not to be carried out, by run: what they are to do is not what was registered. */
  refused: Map<string, string>;
  /** Runs in a row that failed, by agent. */
  failures: Map<string, number>;
  session: Session | null;
};

export const emptyBoard = (): Board => ({
  agents: new Map(),
  former: new Map(),
  active: new Map(),
  latest: new Map(),
  times: new Map(),
  endedChildren: new Map(),
  queuedBy: new Map(),
  refused: new Map(),
  failures: new Map(),
  session: null,
});

export const workKey = (agentId: string, workId: string) => `${agentId}/${workId}`;
/** `time`: one of a schedule's, ISO 8601. */
export const timeKey = (agentId: string, workId: string, time: string) => `${workKey(agentId, workId)}@${time}`;

const formerMax = 3;
const timesMax = 10_000;
const timesPerSweep = 1_000;

/** What an event was about: the agent, the run as it is after it, and whether the run ended by it. */
export type Touched = { agent?: Agent; run?: Run; ended?: boolean };

/** Why the run that an event queues is not to be carried out, on the board as it was before, at `nowMs`; undefined: it is. */
export type Check = (board: Board, run: Run, event: Recorded, nowMs: number) => string | undefined;

const all: Check = () => undefined;

/** Folds one event into the board, in place. `check`: whether a run that is queued is to be carried out; `nowMs`: epoch milliseconds. */
export function apply(board: Board, event: Recorded, check = all, nowMs = Number.POSITIVE_INFINITY): Touched {
  const id = event.subject.slice(event.subject.indexOf('/') + 1);
  if (isAgentEvent(event)) {
    const former = board.agents.get(id);
    const agent = agents.evolve(former, event);
    if (!agent) return {};
    board.agents.set(id, agent);
    if (event.type === 'toka.agent.registered.v1') board.former.delete(id);
    if (event.type === 'toka.agent.updated.v1' && former)
      board.former.set(id, [former, ...(board.former.get(id) ?? [])].slice(0, formerMax));
    // Whoever resumes or changes an agent gives it a fresh start.
    if (event.type !== 'toka.agent.quarantined.v1') board.failures.delete(id);
    return { agent };
  }
  if (!isRunEvent(event)) return {};
  const before = board.active.get(id);
  // What comes for a run that has ended changes nothing.
  const run = runs.evolve(before, event);
  if (!run) return {};
  if (!before) {
    const why = check(board, run, event, nowMs);
    if (why !== undefined) board.refused.set(id, why);
    begin(board, run, event.actor);
  }
  const isRefused = board.refused.has(id);
  if (event.type === 'toka.run.child-ended.v1') board.endedChildren.delete(event.data.runId);
  if (runs.hasEnded(run)) end(board, run);
  else board.active.set(id, run);
  const key = workKey(run.agentId, run.work.id);
  const latest = board.latest.get(key);
  if (latest?.runId === id && !isRefused)
    board.latest.set(key, { ...latest, status: run.status, endedAt: run.endedAt });
  if (run.trigger === 'schedule' && !isRefused) setTime(board, run);
  return { run, ended: runs.hasEnded(run) };
}

/** A message that does not count: what is appended next on its subject comes after it all the same. */
export function passOver(board: Board, subject: string, seq: number): void {
  const id = subject.split('.').at(-1) ?? '';
  const run = board.active.get(id);
  if (run && subject === entitySubject('run', id)) board.active.set(id, { ...run, version: seq, head: seq });
}

function setTime({ times, active }: Board, { agentId, work, since, status }: Run): void {
  times.set(timeKey(agentId, work.id, since), status);
  if (times.size <= timesMax || times.size % timesPerSweep !== 0) return;
  const needed = new Set(
    active.values().flatMap(({ agentId, work, since }) => work.dependsOn.map((id) => timeKey(agentId, id, since))),
  );
  for (const key of times.keys()) {
    if (times.size <= timesMax) break;
    if (!needed.has(key)) times.delete(key);
  }
}

function begin(board: Board, run: Run, actor: string): void {
  board.queuedBy.set(run.id, actor);
  if (board.active.size === 0) {
    board.session = { id: run.id, startedAt: run.queuedAt, queued: 0, completed: 0, failed: 0 };
  }
  if (board.session) board.session = { ...board.session, queued: board.session.queued + 1 };
  if ((run.trigger !== 'objective' && run.trigger !== 'schedule') || board.refused.has(run.id)) return;
  const key = workKey(run.agentId, run.work.id);
  const before = board.latest.get(key);
  // A time of the past that is made up for is not the newest.
  if (run.trigger === 'schedule' && before && isTime(before) && before.since > run.since) return;
  board.latest.set(key, { since: run.since, runId: run.id, status: run.status, endedAt: null });
}

/** Ends that say nothing of the agent: nobody let it work, or its model could not be had, whoever has to mend that. */
const blameless: ReadonlySet<string> = new Set([
  ...['upstream', 'limited', 'spent', 'unavailable', 'held-back', 'unpaid', 'unauthorized', 'disk-full'],
  'dependency-failed',
  'workstream-timeout',
  'spawn-timeout',
  'branch-circle',
  notRegistered,
]);

function end(board: Board, run: Run): void {
  board.active.delete(run.id);
  board.queuedBy.delete(run.id);
  board.refused.delete(run.id);
  for (const child of run.children) board.endedChildren.delete(child.runId);
  if (run.parent && board.active.has(run.parent.runId))
    board.endedChildren.set(run.id, childEnded(run, run.parent.callId));
  if (board.session) {
    const { completed, failed } = board.session;
    const well = run.status === 'completed';
    board.session = { ...board.session, completed: completed + (well ? 1 : 0), failed: failed + (well ? 0 : 1) };
  }
  if (run.status === 'completed') board.failures.delete(run.agentId);
  if (run.status === 'failed' && !blameless.has(run.error?.code ?? ''))
    board.failures.set(run.agentId, (board.failures.get(run.agentId) ?? 0) + 1);
}

const resultCharsMax = 20_000;

/** What the run that asked for this one is told. */
function childEnded(run: Run, callId: string): ChildEnded {
  const status = run.status === 'completed' || run.status === 'cancelled' ? run.status : 'failed';
  const result = (status === 'completed' ? run.result : run.error?.message) ?? '';
  return { callId, runId: run.id, status, result: clip(result, resultCharsMax), usage: run.usage };
}
