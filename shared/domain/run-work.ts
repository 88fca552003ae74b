import type { Snapshot } from '#shared/contracts/artifact.ts';
import type { Recorded, RunEvent } from '#shared/contracts/events.ts';
import type { CallFacts } from '#shared/contracts/llm.ts';
import type { AskedApproval, PendingCall, Run, RunUsage, Workspace } from './run.ts';

type LifeType = 'queued' | 'dispatched' | 'started' | 'completed' | 'failed' | 'retry-scheduled' | 'cancelled';
export type WorkEvent = Exclude<Recorded<RunEvent>, { type: `toka.run.${LifeType}.v1` }>;

/** What happens between a run's start and its end. */
export function evolveWork(run: Run, event: WorkEvent): Run {
  switch (event.type) {
    case 'toka.run.step-completed.v1':
      return afterStep(run, event.data);
    case 'toka.run.tool-called.v1':
      return {
        ...run,
        pending: run.pending.map((call) => (call.callId === event.data.callId ? { ...call, begun: true } : call)),
      };
    case 'toka.run.tool-returned.v1':
      return {
        ...run,
        startsWithoutProgress: 0,
        putBacks: 0,
        pending: without(run.pending, event.data.callId),
        workspace: withSnapshot(run.workspace, event.data.snapshot),
      };
    case 'toka.run.deliverable-submitted.v1': {
      const { callId, ...deliverable } = event.data;
      return { ...run, startsWithoutProgress: 0, pending: without(run.pending, callId), deliverable, verdict: null };
    }
    case 'toka.run.capability-missed.v1':
    case 'toka.run.forked.v1':
      return run;
    case 'toka.run.approval-requested.v1':
      return parked({ ...run, approvals: [...run.approvals, { ...event.data, decided: null }] });
    case 'toka.run.approval-decided.v1': {
      const { data } = event;
      // The first word counts: a person's and the end of their time may come together.
      const isOpen = ({ id, decided }: AskedApproval) => id === data.approvalId && decided === null;
      const approvals = run.approvals.map((each) => (isOpen(each) ? { ...each, decided: data } : each));
      return woken({ ...run, approvals }, event.time);
    }
    case 'toka.run.delegated.v1':
      return parked({ ...run, children: [...run.children, { ...event.data, ended: null }] });
    case 'toka.run.child-ended.v1':
      return afterChild(run, event);
    case 'toka.run.message-received.v1':
      return woken({ ...run, unreadMessage: event.seq, idleSteps: 0 }, event.time);
    case 'toka.run.paused.v1':
      return { ...run, status: 'paused' };
    case 'toka.run.resumed.v1':
      if (run.startedAt === null) return { ...run, status: 'queued' };
      return { ...run, status: 'waiting', retryAt: isParked(run) ? null : event.time };
    case 'toka.run.context-compacted.v1':
      return {
        ...run,
        startsWithoutProgress: 0,
        putBacks: 0,
        contextTokens: 0,
        compactions: run.compactions + 1,
        usage: event.data.facts ? add(run.usage, event.data.facts) : run.usage,
      };
    case 'toka.run.workspace-opened.v1':
      return { ...run, workspace: { base: event.data, snapshots: [], kept: null } };
    case 'toka.run.workspace-saved.v1':
      return { ...run, workspace: withSnapshot(run.workspace, event.data.snapshot) };
    case 'toka.run.workspace-kept.v1':
      return { ...run, workspace: run.workspace && { ...run.workspace, kept: event.data } };
    case 'toka.run.validated.v1':
      return afterVerdict(run, event.data);
  }
}

/** Whether the call whose turn it is waits for a person or for another run. */
export function isParked({ pending, approvals, children }: Run): boolean {
  const [call] = pending;
  if (!call) return false;
  return (
    approvals.some(({ callId, decided }) => callId === call.callId && decided === null) ||
    children.some(({ callId, ended }) => callId === call.callId && ended === null)
  );
}

/** It holds no runner until what it waits for is there. A paused run stays paused. */
const parked = (run: Run): Run =>
  run.status === 'paused'
    ? run
    : { ...run, status: 'waiting', startsWithoutProgress: 0, runner: null, retryAt: null, error: null };

/** Something that a parked run waits for may have come: it is due when nothing else is missing. */
const woken = (run: Run, time: string): Run =>
  run.status === 'waiting' && run.retryAt === null && !isParked(run) ? { ...run, retryAt: time } : run;

function afterChild(run: Run, { data, time }: Extract<Recorded<RunEvent>, { type: 'toka.run.child-ended.v1' }>): Run {
  const open = run.children.some(({ runId, ended }) => runId === data.runId && ended === null);
  if (!open) return run;
  const children = run.children.map((child) => (child.runId === data.runId ? { ...child, ended: data } : child));
  const usage = {
    inputTokens: run.usage.inputTokens + data.usage.inputTokens,
    outputTokens: run.usage.outputTokens + data.usage.outputTokens,
    costUsd: run.usage.costUsd === null || data.usage.costUsd === null ? null : run.usage.costUsd + data.usage.costUsd,
  };
  return woken({ ...run, children, usage }, time);
}

const withSnapshot = (workspace: Workspace | null, snapshot: Snapshot | undefined): Workspace | null =>
  workspace && snapshot ? { ...workspace, snapshots: [...workspace.snapshots, snapshot] } : workspace;

type StepData = Extract<RunEvent, { type: 'toka.run.step-completed.v1' }>['data'];

function afterStep(run: Run, step: StepData): Run {
  return {
    ...run,
    startsWithoutProgress: 0,
    putBacks: 0,
    steps: run.steps + 1,
    idleSteps: step.calls.length === 0 ? run.idleSteps + 1 : 0,
    usage: add(run.usage, step),
    contextTokens: step.usage.inputTokens + step.usage.outputTokens,
    unreadMessage: (run.unreadMessage ?? 0) > (step.heard ?? Number.POSITIVE_INFINITY) ? run.unreadMessage : null,
    pending: step.calls.map((call) => ({ ...call, begun: false })),
    lastText: 'text' in step.answer ? step.answer.text.slice(0, 4000) : '',
    // The agent went on after a refused deliverable: what it hands in next is judged anew.
    deliverable: run.verdict ? null : run.deliverable,
    verdict: null,
  };
}

type VerdictData = Extract<RunEvent, { type: 'toka.run.validated.v1' }>['data'];

function afterVerdict(run: Run, { pass, reasons, facts }: VerdictData): Run {
  return {
    ...run,
    startsWithoutProgress: 0,
    verdict: { pass, reasons },
    failedVerdicts: run.failedVerdicts + (pass ? 0 : 1),
    usage: facts ? add(run.usage, facts) : run.usage,
  };
}

const without = (pending: readonly PendingCall[], callId: string | null) =>
  pending.filter((call) => call.callId !== callId);

const add = (total: RunUsage, { usage, costUsd }: Pick<CallFacts, 'usage' | 'costUsd'>): RunUsage => ({
  inputTokens: total.inputTokens + usage.inputTokens,
  outputTokens: total.outputTokens + usage.outputTokens,
  costUsd: total.costUsd === null || costUsd === null ? null : total.costUsd + costUsd,
});
