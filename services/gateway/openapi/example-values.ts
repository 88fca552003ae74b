import type { z } from 'zod';
import type { AgentInput } from '#shared/contracts/agent.ts';
import { AgentSpec } from '#shared/contracts/agent.ts';
import type {
  AgentStatus,
  AgentView,
  ApprovalView,
  KeyView,
  Memory,
  RunView,
  StepView,
  UsageRow,
  WebhookView,
} from '#shared/contracts/store.ts';

// What the API's descriptions show: one small story, of an agent that keeps a changelog.

const runId = 'run_01KDVDR7EZM3Y0K3D0K5H8Q2VN';
const artifact = { sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', bytes: 2_314 };
const usage = { inputTokens: 18_240, outputTokens: 912, costUsd: 0.0684 };

export const spec: AgentInput = {
  name: 'scribe',
  version: '1.0.0',
  domain: 'docs',
  priority: 'medium',
  workstream: 'main',
  branch: 'docs/changelog',
  repository: '.',
  schedule: { cron: '0 6 * * 1-5', timezone: 'Europe/Berlin' },
  capabilities: { primary: ['filesystem-write', 'git-access'], secondary: [] },
  objectives: [
    {
      id: 'changelog',
      description: 'Write down what has changed since the last release',
      deliverable: 'CHANGELOG.md',
      validation: 'Every change that a user notices is in it',
    },
  ],
};

export const agent: AgentView = {
  id: 'scribe',
  status: 'active',
  origin: 'api',
  spec: AgentSpec.parse(spec),
  registeredAt: '2026-01-05T09:00:00.000Z',
  updatedAt: '2026-01-05T09:00:00.000Z',
  version: 17,
};

const queued: RunView = {
  id: runId,
  agentId: 'scribe',
  workId: 'changelog',
  kind: 'objective',
  trigger: 'api',
  description: 'Write down what has changed since the last release',
  workstream: 'main',
  priority: 'medium',
  status: 'queued',
  steps: 0,
  retries: 0,
  usage: { inputTokens: 0, outputTokens: 0, costUsd: 0 },
  deliverable: null,
  verdict: null,
  result: null,
  error: null,
  parent: null,
  retryOf: null,
  forkOf: null,
  runAt: null,
  approvals: [],
  children: [],
  workspace: null,
  runner: null,
  queuedAt: '2026-01-05T09:00:01.000Z',
  startedAt: null,
  endedAt: null,
  version: 18,
};

const deliverable = { name: 'CHANGELOG.md', mediaType: 'text/markdown', summary: 'Seven changes', artifact };

const completed: RunView = {
  ...queued,
  ...{ status: 'completed', steps: 6, usage, deliverable, runner: 'runner-1a2b', version: 41 },
  verdict: { pass: true, reasons: ['Every change of the log is in it'] },
  startedAt: '2026-01-05T09:00:02.000Z',
  endedAt: '2026-01-05T09:01:10.000Z',
};
export const run = { queued, completed };

export const approval: ApprovalView = {
  id: 'apr_01KDVDT3B9V5N3C1Y8T5B8QF6W',
  callId: 'call_7',
  kind: 'question',
  tool: 'ask_human',
  capability: null,
  question: 'Is this a major release?',
  schema: { type: 'boolean' },
  expiresAt: '2026-01-06T09:00:40.000Z',
  runId,
  agentId: 'scribe',
  workstream: 'main',
  requestedAt: '2026-01-05T09:00:40.000Z',
  decided: null,
};

export const memory: Memory = {
  id: 'mem_01KDVDT3B9V5N3C1Y8T5B8QF6W',
  text: 'Releases are cut on Mondays.',
  runId,
  time: '2026-01-05T09:00:50.000Z',
};

export const key: KeyView = {
  id: 'key_01KDVDVQ2J6Y3F2R7Q1C9M4XZT',
  name: 'ci',
  models: ['gpt-*'],
  limits: { requests: 100, window: 60 },
  budget: { usd: 5, per: 'day' },
  workstream: 'main',
  expiresAt: null,
  owner: 'ann',
  createdAt: '2026-01-05T09:00:00.000Z',
  revokedAt: null,
  state: 'active',
};

export const webhook: WebhookView = {
  id: 'whk_01KDVDX3W8H5T1K9B6D2G4P7RN',
  url: 'https://example.com/hooks/toka',
  types: ['toka.run.completed.v1', 'toka.run.failed.v1'],
  agent: null,
  workstream: 'main',
  owner: 'ann',
  createdAt: '2026-01-05T09:00:00.000Z',
  state: 'active',
  disabled: null,
};

export const event = {
  specversion: '1.0',
  id: 'evt_01KDVDR7F1Y2V5C6A9N0Q3S8TB',
  source: '/toka/gateway/gateway-1a2b',
  type: 'toka.agent.paused.v1',
  subject: 'agent/scribe',
  time: '2026-01-05T09:00:01.000Z',
  datacontenttype: 'application/json',
  actor: 'user:ann',
  correlationid: 'scribe',
  data: { reason: 'a holiday' },
  seq: 42,
};

export const step: StepView = {
  ...{ runId, step: 1, seq: 21, time: '2026-01-05T09:00:05.000Z', provider: 'anthropic', model: 'claude-opus-5' },
  ...{ tools: ['git_log'], text: 'I look at the log first.', inputTokens: 2_810, outputTokens: 96 },
  ...{ costUsd: 0.0098, latencyMs: 1_920, cache: 'miss' },
};

export const agentStatus: AgentStatus = {
  ...{ id: 'scribe', status: 'active', state: 'done', currentRunId: null, lastError: null, usage },
  works: { total: 1, completed: 1, failed: 0 },
};

export const usageRow: z.output<typeof UsageRow> = {
  ...{ key: 'scribe', calls: 7, ...usage, callsWithoutPrice: 0 },
};

const { summary, ...handedIn } = deliverable;
export const artifacts = { items: [{ ...handedIn, summary }] };

const service = (name: string) => ({
  ...{ service: name, instance: `${name}-1a2b`, version: '0.1.0', ready: true, checks: { nats: 'ok' } },
});

export const status = {
  ready: true,
  missing: [],
  services: ['agent-runner', 'gateway', 'llm-proxy', 'scheduler', 'store'].map(service),
  log: { seq: 42 },
  archive: { seq: 42, databaseBytes: 212_992, odd: { count: 0, last: null } },
  agents: { done: 1 },
  runs: {},
  scheduling: {
    ...{ leader: 'scheduler-1a2b', phase: 'idle' as const, backlog: 0, slots: 8 },
    session: { id: runId, startedAt: queued.queuedAt, queued: 1, completed: 1, failed: 0, progress: 1 },
  },
};
