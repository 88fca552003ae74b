import type { Decided } from '#shared/contracts/approval.ts';
import type { DataOf, RunDraft, RunError } from '#shared/contracts/events.ts';
import { Failure } from '#shared/errors.ts';
import type { Run } from './run.ts';
import { hasEnded } from './run.ts';

export type RunCommand =
  | { type: 'dispatch'; reason: string }
  | { type: 'start'; runner: string }
  | { type: 'cancel'; reason: string }
  | { type: 'fail'; error: RunError }
  | { type: 'put-back'; error: RunError; at: string }
  | { type: 'pause' | 'resume'; reason: string }
  /** `reject`: only if no runner is at it. */
  | { type: 'message'; text: string; mode: 'enqueue' | 'interrupt' | 'reject' }
  | { type: 'decide'; decided: Decided }
  | { type: 'child-ended'; ended: DataOf<'toka.run.child-ended.v1'> };

/** What may happen next: answers a command with events, or throws a Failure. Repeating a command yields none. */
export function decide(run: Run | undefined, command: RunCommand): RunDraft[] {
  if (!run) throw new Failure('not-found', 'there is no such run');
  if (hasEnded(run)) {
    if (command.type === 'cancel' && run.status === 'cancelled') return [];
    if (command.type === 'child-ended') return [];
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
    case 'pause':
      return run.status === 'paused' ? [] : [{ type: 'toka.run.paused.v1', data: { reason: command.reason } }];
    case 'resume':
      return run.status === 'paused' ? [{ type: 'toka.run.resumed.v1', data: { reason: command.reason } }] : [];
    case 'message':
      return message(run, command);
    case 'decide':
      return decideApproval(run, command.decided);
    case 'child-ended': {
      const child = run.children.find(({ runId }) => runId === command.ended.runId);
      return child && !child.ended ? [{ type: 'toka.run.child-ended.v1', data: command.ended }] : [];
    }
  }
}

function message(run: Run, { text, mode }: Extract<RunCommand, { type: 'message' }>): RunDraft[] {
  if (mode === 'reject' && (run.status === 'running' || run.status === 'dispatched'))
    throw new Failure('conflict', 'the run is at work, and the message was to be refused in that case');
  return [{ type: 'toka.run.message-received.v1', data: { text, mode: mode === 'interrupt' ? mode : 'enqueue' } }];
}

function decideApproval(run: Run, decided: Decided): RunDraft[] {
  const approval = run.approvals.find(({ id }) => id === decided.approvalId);
  if (!approval) throw new Failure('not-found', 'there is no such approval');
  if (approval.decided) {
    if (approval.decided.decision === decided.decision) return [];
    throw new Failure('conflict', `it was decided before: ${approval.decided.decision}`);
  }
  const taken = approval.kind === 'question' ? ['answered', 'denied', 'expired'] : ['approved', 'denied', 'expired'];
  if (!taken.includes(decided.decision))
    throw new Failure(
      'invalid',
      `decision: ${approval.kind === 'question' ? 'a question takes answered or denied' : 'it takes approved or denied'}`,
    );
  return [{ type: 'toka.run.approval-decided.v1', data: decided }];
}
