import { z } from 'zod';
import { SchedulingView } from '#shared/contracts/scheduling.ts';
import {
  AgentStatus,
  Anchor,
  Checkpoint,
  OddMessages,
  UsageRow,
  usageKeys,
  verifyArchive,
} from '#shared/contracts/store.ts';
import { endpoint } from './endpoint.ts';
import { seqQuery } from './paging.ts';

export const Instance = z.object({
  service: z.string(),
  instance: z.string(),
  version: z.string(),
  ready: z.boolean(),
  checks: z.record(z.string(), z.string()),
});

const Day = z.iso.date('must be a day such as "2026-01-31"');

export const getHealth = endpoint({
  method: 'get',
  path: '/health',
  scope: null,
  summary: 'Whether this gateway can answer, and there is room for what is new',
  answer: z.object({ status: z.string(), version: z.string() }),
});

/** With PUBLIC_STATUS it needs no scope. */
export const getMetrics = endpoint({
  method: 'get',
  path: '/metrics',
  scope: 'usage:read',
  summary: 'The metrics of every instance, for Prometheus',
  answer: { mediaType: 'text/plain' },
});

export const getStatus = endpoint({
  method: 'get',
  path: '/status',
  scope: 'runs:read',
  summary: 'Services, archive, agents and runs at a glance',
  answer: z.object({
    ready: z.boolean(),
    missing: z.array(z.string()),
    services: z.array(Instance),
    log: z.object({ seq: z.number() }),
    archive: z.object({ seq: z.number(), databaseBytes: z.number(), odd: OddMessages }).nullable(),
    /** How many, by state. */
    agents: z.record(z.string(), z.number()),
    /** Those that have not ended, by status, as the scheduler counts them; null while it does not tell. */
    runs: z.record(z.string(), z.number()).nullable(),
    /** Session, phase, progress and backlog; null while no scheduler tells. */
    scheduling: SchedulingView.omit({ runs: true }).nullable(),
  }),
});

export const getUsage = endpoint({
  method: 'get',
  path: '/usage',
  scope: 'usage:read',
  summary: 'Tokens and cost by agent, run, model, workstream, day or key',
  query: seqQuery.extend({
    by: z.enum(usageKeys).default('agent'),
    since: Day.optional().describe('From that day (UTC) on'),
    until: Day.optional().describe('Up to that day, which counts'),
  }),
  answer: z.object({ items: z.array(UsageRow) }),
});

export const verifyAudit = endpoint({
  method: 'get',
  path: '/audit/verify',
  scope: 'admin',
  summary:
    'Computes the hash chain of the archive anew, and compares it with the log and with a checkpoint that was kept elsewhere',
  query: z.object({
    anchorSeq: z.coerce.number().int().positive().optional().describe("A checkpoint's sequence"),
    anchorHead: Anchor.shape.chainHead.optional().describe('What the chain came to there'),
  }),
  answer: verifyArchive.output,
});

export const getAuditCheckpoint = endpoint({
  method: 'get',
  path: '/audit/checkpoint',
  scope: 'admin',
  summary: 'What the hash chain comes to now, signed with Ed25519: to be kept elsewhere',
  answer: Checkpoint,
});

/** Of port 9000 alone; with PUBLIC_STATUS it needs no scope. */
export const listAgentStatus = endpoint({
  method: 'get',
  path: '/agents/status',
  scope: 'agents:read',
  summary: 'Every agent: its state, current run, progress, last error and cost',
  query: seqQuery,
  answer: z.object({ items: z.array(AgentStatus) }),
});
