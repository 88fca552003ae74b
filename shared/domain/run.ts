import type { Definition, Work } from '#shared/contracts/agent.ts';
import type { Approval, Decided } from '#shared/contracts/approval.ts';
import type { NamedArtifact, Snapshot, WorkspaceBase } from '#shared/contracts/artifact.ts';
import type {
  DataOf,
  Deliverable,
  Fork,
  Parent,
  Recorded,
  RunError,
  RunEvent,
  Trigger,
} from '#shared/contracts/events.ts';
import type { RetryClass } from './retry.ts';
import { retryClassOf } from './retry.ts';
import { evolveWork, isParked } from './run-work.ts';

export const runStatuses = [
  'queued',
  'dispatched',
  'running',
  'waiting',
  'paused',
  'completed',
  'failed',
  'cancelled',
] as const;
export type RunStatus = (typeof runStatuses)[number];

/** A tool call that the model made and that has no result yet. `begun`: it may have run. */
export type PendingCall = { callId: string; tool: string; begun: boolean };

/** What a person was asked, and what came of it; null: nothing yet. */
export type AskedApproval = Approval & { decided: Decided | null };

/** A run that a tool call of this one asked for; `ended` is null while it is under way. */
export type Child = { callId: string; runId: string; agentId: string; ended: DataOf<'toka.run.child-ended.v1'> | null };

/** What is known of the workspace: enough for any runner to make it again. */
export type Workspace = {
  base: WorkspaceBase;
  /** In order; each builds on the one before. */
  snapshots: readonly Snapshot[];
  kept: (DataOf<'toka.run.workspace-kept.v1'> & { artifacts: readonly NamedArtifact[] }) | null;
};

export type RunUsage = {
  inputTokens: number;
  outputTokens: number;
  /** Null once a call had no known price. */
  costUsd: number | null;
};

/** One execution of a work. It holds what decides the next action; the conversation is folded apart. */
export type Run = {
  id: string;
  agentId: string;
  trigger: Trigger;
  since: string;
  parent: Parent | null;
  /** The ended run that this one does again. */
  retryOf: string | null;
  /** The run, and its event, from which this one goes on. */
  forkOf: { runId: string; at: number } | null;
  /** It is not begun before. */
  runAt: string | null;
  /** Which it was queued in, as W3C Trace Context has it. */
  trace: { traceparent: string; tracestate?: string | undefined } | null;
  definition: Definition;
  work: Work;
  status: RunStatus;
  /** Dispatches that were followed by a start. */
  starts: number;
  /** Times that it was put back to try again. */
  retries: number;
  /** Times in a row, without any progress between, that it was put back for a fault of whatever side. */
  putBacks: number;
  /** Of its retries, by what went wrong. */
  retriesBy: Readonly<Partial<Record<RetryClass, number>>>;
  /** Consecutive starts without progress: a poison run kills its runner before anything is recorded. */
  startsWithoutProgress: number;
  steps: number;
  /** Model answers in a row that called no tool. */
  idleSteps: number;
  usage: RunUsage;
  pending: readonly PendingCall[];
  approvals: readonly AskedApproval[];
  children: readonly Child[];
  workspace: Workspace | null;
  /** Input and output tokens of the last model call: what the conversation has grown to. */
  contextTokens: number;
  compactions: number;
  /** Sequence of the last message from a person that no model has seen. */
  unreadMessage: number | null;
  deliverable: Deliverable | null;
  /** The last verdict on the deliverable as it is now; null: not judged yet. */
  verdict: { pass: boolean; reasons: readonly string[] } | null;
  failedVerdicts: number;
  /** The last answer's text, the result of a work without a deliverable. */
  lastText: string;
  result: string | null;
  error: RunError | null;
  runner: string | null;
  retryAt: string | null;
  /** Since when it waits for a person: it is paused, or somebody is asked. Null: it does not. */
  heldSince: string | null;
  /** How long it waited for people before that, in milliseconds; `heldMsAtStart`: of it, before it was first started. */
  heldMs: number;
  heldMsAtStart: number;
  /** Since when it waits for a model that cannot be had, and how long it did before that, in milliseconds. */
  outageSince: string | null;
  outageMs: number;
  queuedAt: string;
  dispatchedAt: string | null;
  startedAt: string | null;
  endedAt: string | null;
  /** Sequences of its first event, and of its last dispatch. */
  first: number;
  dispatch: number;
  /** Sequence of its last event. */
  version: number;
  /** Sequence of the last message on its own subject, where what people say is not; 0: none yet. The expectation of the next append. */
  head: number;
};

/** Put back through no fault of the run's own, and before anybody was asked: it does not use up a retry. */
const noFault: ReadonlySet<string> = new Set(['spawn-timeout', 'limited', 'spent', 'held-back', 'handed-back']);

export const hasEnded = (run: Pick<Run, 'status'>): boolean =>
  run.status === 'completed' || run.status === 'failed' || run.status === 'cancelled';

/** Whether it goes on when a person says so, and not before: that time is not the run's. */
export const waitsForPerson = ({ status, approvals }: Pick<Run, 'status' | 'approvals'>): boolean =>
  status === 'paused' || approvals.some(({ decided }) => decided === null);

/** How long a run has waited for people so far, in milliseconds. */
export const heldMsOf = (run: Run, nowMs: number): number =>
  run.heldMs + (run.heldSince === null ? 0 : Math.max(0, nowMs - Date.parse(run.heldSince)));

/** How long a run has waited so far for a model that could not be had, in milliseconds. */
const outageMsOf = (run: Run, nowMs: number): number =>
  run.outageMs + (run.outageSince === null ? 0 : Math.max(0, nowMs - Date.parse(run.outageSince)));

/** How long a run has taken since its first start, in milliseconds, without what people took, and without outages of its model. */
export function tookMsOf(run: Run, nowMs: number): number {
  if (run.startedAt === null) return 0;
  return nowMs - Date.parse(run.startedAt) - (heldMsOf(run, nowMs) - run.heldMsAtStart) - outageMsOf(run, nowMs);
}

/** What has happened: folds one event into the run. */
export function evolve(before: Run | undefined, event: Recorded<RunEvent>): Run | undefined {
  if (!before) return event.type === 'toka.run.queued.v1' ? queued(event) : undefined;
  const run = { ...before, version: event.seq, head: event.decision ? before.head : event.seq };
  // A person and the scheduler may ask for the same run, on two subjects: the first counts.
  if (event.type === 'toka.run.queued.v1') return run;
  // Two who write at the same time may both be taken: what comes for a run that has ended changes nothing of it.
  if (hasEnded(run) && event.type !== 'toka.run.workspace-kept.v1') return run;
  return awaiting(holding(after(run, event), event.time), event.time);
}

/** Keeps the time that outages take. */
function awaiting(run: Run, time: string): Run {
  const waits = run.status === 'waiting' && run.retryAt !== null && retryClassOf(run.error?.code ?? '') === 'provider';
  if (waits === (run.outageSince !== null)) return run;
  return waits
    ? { ...run, outageSince: time }
    : { ...run, outageSince: null, outageMs: outageMsOf(run, Date.parse(time)) };
}

/** Keeps the time that people take. */
function holding(run: Run, time: string): Run {
  const waits = waitsForPerson(run) && !hasEnded(run);
  if (waits === (run.heldSince !== null)) return run;
  return waits ? { ...run, heldSince: time } : { ...run, heldSince: null, heldMs: heldMsOf(run, Date.parse(time)) };
}

function after(run: Run, event: Exclude<Recorded<RunEvent>, { type: 'toka.run.queued.v1' }>): Run {
  switch (event.type) {
    case 'toka.run.dispatched.v1':
      return { ...run, status: 'dispatched', dispatchedAt: event.time, retryAt: null, dispatch: event.seq };
    case 'toka.run.started.v1':
      return {
        ...run,
        status: 'running',
        starts: run.starts + 1,
        startsWithoutProgress: run.startsWithoutProgress + 1,
        runner: event.data.runner,
        startedAt: run.startedAt ?? event.time,
        heldMsAtStart: run.startedAt === null ? run.heldMs : run.heldMsAtStart,
      };
    case 'toka.run.step-completed.v1':
    case 'toka.run.tool-called.v1':
    case 'toka.run.tool-returned.v1':
    case 'toka.run.deliverable-submitted.v1':
    case 'toka.run.capability-missed.v1':
    case 'toka.run.approval-requested.v1':
    case 'toka.run.approval-decided.v1':
    case 'toka.run.delegated.v1':
    case 'toka.run.child-ended.v1':
    case 'toka.run.message-received.v1':
    case 'toka.run.paused.v1':
    case 'toka.run.resumed.v1':
    case 'toka.run.context-compacted.v1':
    case 'toka.run.workspace-opened.v1':
    case 'toka.run.workspace-saved.v1':
    case 'toka.run.workspace-kept.v1':
    case 'toka.run.validated.v1':
    case 'toka.run.forked.v1':
      return evolveWork(run, event);
    case 'toka.run.completed.v1':
      return { ...run, status: 'completed', result: event.data.result, error: null, endedAt: event.time };
    case 'toka.run.failed.v1':
      return { ...run, status: 'failed', error: event.data, endedAt: event.time };
    case 'toka.run.retry-scheduled.v1':
      return putBack(run, event.data);
    case 'toka.run.cancelled.v1':
      return {
        ...run,
        status: 'cancelled',
        error: { code: 'cancelled', message: event.data.reason },
        endedAt: event.time,
      };
  }
}

function putBack(run: Run, { at, ...error }: DataOf<'toka.run.retry-scheduled.v1'>): Run {
  const kind = noFault.has(error.code) ? undefined : retryClassOf(error.code);
  const again: Run = {
    ...run,
    // What a person or another run holds up stays so.
    status: run.status === 'paused' ? run.status : 'waiting',
    error,
    retries: run.retries + (noFault.has(error.code) ? 0 : 1),
    putBacks: run.putBacks + (retryClassOf(error.code) ? 1 : 0),
    retriesBy: kind ? { ...run.retriesBy, [kind]: (run.retriesBy[kind] ?? 0) + 1 } : run.retriesBy,
    // Whoever recorded this was alive: the run has not ended its runner.
    startsWithoutProgress: 0,
    retryAt: isParked(run) ? null : at,
  };
  // It may hand in something better: what was refused is in the conversation.
  return kind === 'validation' ? { ...again, deliverable: null, verdict: null, failedVerdicts: 0 } : again;
}

function queued(event: Extract<Recorded<RunEvent>, { type: 'toka.run.queued.v1' }>): Run {
  const { agentId, trigger, since, parent, retryOf, forkOf, runAt, definition, work } = event.data;
  const { traceparent, tracestate } = event;
  return {
    id: event.subject.slice('run/'.length),
    agentId,
    trigger,
    since,
    parent,
    retryOf: retryOf ?? null,
    forkOf: forkOf ? { runId: forkOf.runId, at: forkOf.at } : null,
    runAt: runAt ?? null,
    trace: traceparent === undefined ? null : { traceparent, tracestate },
    definition,
    work,
    status: 'queued',
    starts: 0,
    retries: 0,
    putBacks: 0,
    retriesBy: {},
    startsWithoutProgress: 0,
    steps: 0,
    idleSteps: 0,
    usage: { inputTokens: 0, outputTokens: 0, costUsd: 0 },
    pending: [],
    approvals: [],
    children: [],
    workspace: null,
    contextTokens: 0,
    compactions: 0,
    unreadMessage: null,
    deliverable: null,
    verdict: null,
    failedVerdicts: 0,
    lastText: '',
    result: null,
    error: null,
    runner: null,
    retryAt: null,
    heldSince: null,
    heldMs: 0,
    heldMsAtStart: 0,
    outageSince: null,
    outageMs: 0,
    queuedAt: event.time,
    dispatchedAt: null,
    startedAt: null,
    endedAt: null,
    first: event.seq,
    dispatch: 0,
    version: event.seq,
    head: event.decision ? 0 : event.seq,
    ...(forkOf && goingOn(forkOf, event.seq)),
  };
}

/** What a forked run has of the other one. Its calls that had no result are made anew: in its workspace they were never begun. */
function goingOn({ state: { pending, workspace, ...rest }, message }: Fork, seq: number): Partial<Run> {
  return {
    ...rest,
    pending: pending.map((call) => ({ ...call, begun: false })),
    workspace: workspace && { ...workspace, kept: null },
    unreadMessage: message === undefined ? null : seq,
  };
}
