import type { Definition, Work } from '#shared/contracts/agent.ts';
import type { Deliverable, Recorded, RunDraft, RunError, RunEvent } from '#shared/contracts/events.ts';
import type { CallFacts } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';

export const runStatuses = ['queued', 'dispatched', 'running', 'waiting', 'completed', 'failed', 'cancelled'] as const;
export type RunStatus = (typeof runStatuses)[number];

/** A tool call that the model made and that has no result yet. `begun`: it may have run. */
export type PendingCall = { callId: string; tool: string; begun: boolean };

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
  trigger: 'objective' | 'schedule' | 'api';
  since: string;
  definition: Definition;
  work: Work;
  status: RunStatus;
  /** Dispatches that were followed by a start. */
  starts: number;
  /** Times that it was put back to try again. */
  retries: number;
  /** Consecutive starts without progress: a poison run kills its runner before anything is recorded. */
  startsWithoutProgress: number;
  steps: number;
  /** Model answers in a row that called no tool. */
  idleSteps: number;
  usage: RunUsage;
  pending: readonly PendingCall[];
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
  queuedAt: string;
  dispatchedAt: string | null;
  startedAt: string | null;
  endedAt: string | null;
  /** Sequence of its last event: the expectation of the next append. */
  version: number;
};

/** Put back through no fault of the run's own: it does not use up a retry. */
const noFault: ReadonlySet<string> = new Set(['spawn-timeout', 'limited']);

export const hasEnded = (run: Pick<Run, 'status'>): boolean =>
  run.status === 'completed' || run.status === 'failed' || run.status === 'cancelled';

/** What has happened: folds one event into the run. */
export function evolve(before: Run | undefined, event: Recorded<RunEvent>): Run | undefined {
  if (event.type === 'toka.run.queued.v1') return before ?? queued(event);
  if (!before) return before;
  const run: Run = { ...before, version: event.seq };
  switch (event.type) {
    case 'toka.run.dispatched.v1':
      return { ...run, status: 'dispatched', dispatchedAt: event.time, retryAt: null };
    case 'toka.run.started.v1':
      return {
        ...run,
        status: 'running',
        starts: run.starts + 1,
        startsWithoutProgress: run.startsWithoutProgress + 1,
        runner: event.data.runner,
        startedAt: run.startedAt ?? event.time,
      };
    case 'toka.run.step-completed.v1':
      return afterStep(run, event.data);
    case 'toka.run.tool-called.v1':
      return {
        ...run,
        pending: run.pending.map((call) => (call.callId === event.data.callId ? { ...call, begun: true } : call)),
      };
    case 'toka.run.tool-returned.v1':
      return { ...run, startsWithoutProgress: 0, pending: without(run.pending, event.data.callId) };
    case 'toka.run.deliverable-submitted.v1': {
      const { callId, ...deliverable } = event.data;
      return { ...run, startsWithoutProgress: 0, pending: without(run.pending, callId), deliverable, verdict: null };
    }
    case 'toka.run.validated.v1':
      return afterVerdict(run, event.data);
    case 'toka.run.completed.v1':
      return { ...run, status: 'completed', result: event.data.result, error: null, endedAt: event.time };
    case 'toka.run.failed.v1':
      return { ...run, status: 'failed', error: event.data, endedAt: event.time };
    case 'toka.run.retry-scheduled.v1': {
      const retries = run.retries + (noFault.has(event.data.code) ? 0 : 1);
      // Whoever recorded this was alive: the run has not ended its runner.
      const startsWithoutProgress = 0;
      return { ...run, status: 'waiting', error: event.data, retries, startsWithoutProgress, retryAt: event.data.at };
    }
    case 'toka.run.cancelled.v1':
      return {
        ...run,
        status: 'cancelled',
        error: { code: 'cancelled', message: event.data.reason },
        endedAt: event.time,
      };
  }
}

function queued(event: Extract<Recorded<RunEvent>, { type: 'toka.run.queued.v1' }>): Run {
  const { agentId, trigger, since, definition, work } = event.data;
  return {
    id: event.subject.slice('run/'.length),
    agentId,
    trigger,
    since,
    definition,
    work,
    status: 'queued',
    starts: 0,
    retries: 0,
    startsWithoutProgress: 0,
    steps: 0,
    idleSteps: 0,
    usage: { inputTokens: 0, outputTokens: 0, costUsd: 0 },
    pending: [],
    deliverable: null,
    verdict: null,
    failedVerdicts: 0,
    lastText: '',
    result: null,
    error: null,
    runner: null,
    retryAt: null,
    queuedAt: event.time,
    dispatchedAt: null,
    startedAt: null,
    endedAt: null,
    version: event.seq,
  };
}

type StepData = Extract<RunEvent, { type: 'toka.run.step-completed.v1' }>['data'];

function afterStep(run: Run, step: StepData): Run {
  return {
    ...run,
    startsWithoutProgress: 0,
    steps: run.steps + 1,
    idleSteps: step.calls.length === 0 ? run.idleSteps + 1 : 0,
    usage: add(run.usage, step),
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

export type RunCommand =
  | { type: 'dispatch'; reason: string }
  | { type: 'start'; runner: string }
  | { type: 'cancel'; reason: string }
  | { type: 'fail'; error: RunError }
  | { type: 'put-back'; error: RunError; at: string };

/** What may happen next: answers a command with events, or throws a Failure. Repeating a command yields none. */
export function decide(run: Run | undefined, command: RunCommand): RunDraft[] {
  if (!run) throw new Failure('not-found', 'there is no such run');
  if (hasEnded(run)) {
    if (command.type === 'cancel' && run.status === 'cancelled') return [];
    throw new Failure('conflict', `the run has already ended: ${run.status}`);
  }
  switch (command.type) {
    case 'dispatch':
      return run.status === 'dispatched' ? [] : [{ type: 'toka.run.dispatched.v1', data: { reason: command.reason } }];
    case 'start':
      return [{ type: 'toka.run.started.v1', data: { runner: command.runner } }];
    case 'cancel':
      return [{ type: 'toka.run.cancelled.v1', data: { reason: command.reason } }];
    case 'fail':
      return [{ type: 'toka.run.failed.v1', data: command.error }];
    case 'put-back':
      return [{ type: 'toka.run.retry-scheduled.v1', data: { ...command.error, at: command.at } }];
  }
}
