import type { AgentView, RunView } from '#shared/contracts/store.ts';
import type { Agent } from './agent.ts';
import type { Run } from './run.ts';

/** An agent as it is shown. */
export const agentView = ({ since, born, ...agent }: Agent): AgentView => agent;

/** A run as it is shown: without what only decides its next action. */
export const runView = (run: Run): RunView => ({
  id: run.id,
  agentId: run.agentId,
  workId: run.work.id,
  kind: run.work.kind,
  trigger: run.trigger,
  description: run.work.description,
  workstream: run.definition.workstream,
  priority: run.work.priority,
  status: run.status,
  steps: run.steps,
  retries: run.retries,
  usage: run.usage,
  deliverable: run.deliverable,
  verdict: run.verdict && { pass: run.verdict.pass, reasons: [...run.verdict.reasons] },
  result: run.result,
  error: run.error,
  parent: run.parent,
  retryOf: run.retryOf,
  forkOf: run.forkOf,
  runAt: run.runAt,
  approvals: run.approvals.filter(({ decided }) => decided === null).map(({ decided: _, ...approval }) => approval),
  children: run.children.map(({ runId, agentId, ended }) => ({ runId, agentId, status: ended?.status ?? null })),
  workspace: run.workspace?.kept ?? null,
  runner: run.runner,
  queuedAt: run.queuedAt,
  startedAt: run.startedAt,
  endedAt: run.endedAt,
  version: run.version,
});
