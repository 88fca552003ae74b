import { z } from 'zod';
import { agentStatuses } from '#shared/domain/agent.ts';
import { runStatuses } from '#shared/domain/run.ts';
import { AgentSpec } from './agent.ts';
import { Approval, ApprovalId, Decided } from './approval.ts';
import { hashesAskedMax, Sha256 } from './artifact.ts';
import { request } from './contract.ts';
import { Deliverable, eventData, Parent, RunError, Trigger } from './events.ts';
import { AgentId, KeyId, MemoryId, Priority, RunId, Seq, WebhookId } from './ids.ts';
import { KeyTerms } from './key.ts';
import { WebhookTerms } from './webhook.ts';

/**
 * `minSeq`: answer once the archive has applied this sequence, so that one reads one's own writes. `workstreams`: answer as if there were no
 * others; without it, all are seen.
 */
const asked = { minSeq: Seq.optional(), workstreams: z.array(z.string()).optional() };
const page = { ...asked, limit: z.number().int().min(1).max(500).default(100), cursor: z.string().max(200).optional() };
const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), nextCursor: z.string().nullable() });

export const RunUsage = z.object({
  inputTokens: z.number(),
  outputTokens: z.number(),
  costUsd: z.number().nullable(),
});

export const RunView = z.object({
  id: RunId,
  agentId: AgentId,
  workId: z.string(),
  kind: z.enum(['objective', 'task', 'ad-hoc']),
  trigger: Trigger,
  description: z.string(),
  workstream: z.string(),
  priority: Priority,
  status: z.enum(runStatuses),
  steps: z.number(),
  retries: z.number(),
  usage: RunUsage,
  deliverable: Deliverable.nullable(),
  verdict: z.object({ pass: z.boolean(), reasons: z.array(z.string()) }).nullable(),
  result: z.string().nullable(),
  error: RunError.nullable(),
  parent: Parent.nullable(),
  retryOf: RunId.nullable(),
  forkOf: z.object({ runId: RunId, at: z.number() }).nullable(),
  runAt: z.string().nullable(),
  /** What it waits for a person to decide. */
  approvals: z.array(Approval),
  children: z.array(z.object({ runId: RunId, agentId: AgentId, status: z.string().nullable() })),
  /** What became of its workspace, once it has ended. */
  workspace: eventData['toka.run.workspace-kept.v1'].nullable(),
  runner: z.string().nullable(),
  queuedAt: z.string(),
  startedAt: z.string().nullable(),
  endedAt: z.string().nullable(),
  version: Seq,
});
export type RunView = z.infer<typeof RunView>;

export const AgentView = z.object({
  id: AgentId,
  status: z.enum(agentStatuses),
  origin: z.enum(['file', 'api']),
  spec: AgentSpec,
  registeredAt: z.string(),
  updatedAt: z.string(),
  version: Seq,
});
export type AgentView = z.infer<typeof AgentView>;

/** Something that a person is asked, and what was decided. */
export const ApprovalView = Approval.extend({
  runId: RunId,
  agentId: AgentId,
  workstream: z.string(),
  requestedAt: z.string(),
  decided: Decided.extend({ by: z.string(), at: z.string() }).nullable(),
});
export type ApprovalView = z.infer<typeof ApprovalView>;

/** A fact that an agent keeps from run to run. */
export const Memory = z.object({ id: MemoryId, text: z.string(), runId: RunId.nullable(), time: z.string() });
export type Memory = z.infer<typeof Memory>;

/** A client key of the llm-proxy, without its secret or the secret's hash. */
export const KeyView = z.object({
  id: KeyId,
  ...KeyTerms.shape,
  owner: z.string(),
  createdAt: z.string(),
  revokedAt: z.string().nullable(),
  state: z.enum(['active', 'expired', 'revoked']),
});
export type KeyView = z.infer<typeof KeyView>;

/** A webhook, without its secret. */
export const WebhookView = z.object({
  id: WebhookId,
  ...WebhookTerms.shape,
  owner: z.string(),
  createdAt: z.string(),
  state: z.enum(['active', 'disabled']),
  /** Why it is disabled, and since when. */
  disabled: z.object({ reason: z.string(), at: z.string() }).nullable(),
});
export type WebhookView = z.infer<typeof WebhookView>;

/** What an agent is doing, at a glance. `works`: those of its present definition, with the newest run of each. */
export const AgentStatus = z.object({
  id: AgentId,
  status: z.enum(agentStatuses),
  state: z.enum(['idle', 'working', 'waiting', 'done', 'failed', 'paused', 'quarantined']),
  currentRunId: RunId.nullable(),
  works: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
  lastError: RunError.nullable(),
  usage: RunUsage,
});
export type AgentStatus = z.infer<typeof AgentStatus>;

export const StepView = z.object({
  runId: RunId,
  step: z.number(),
  seq: Seq,
  time: z.string(),
  provider: z.string(),
  model: z.string(),
  tools: z.array(z.string()),
  text: z.string(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  costUsd: z.number().nullable(),
  latencyMs: z.number(),
  cache: z.string(),
});
export type StepView = z.infer<typeof StepView>;

/** An event as it lies in the archive: its sequence and its exact JSON, parsed. */
export const EventView = z.looseObject({ seq: Seq, id: z.string(), type: z.string(), subject: z.string() });
export type EventView = z.infer<typeof EventView>;

export const usageKeys = ['agent', 'run', 'model', 'workstream', 'day', 'key'] as const;
export const UsageRow = z.object({
  key: z.string(),
  calls: z.number(),
  inputTokens: z.number(),
  outputTokens: z.number(),
  costUsd: z.number(),
  /** Calls whose price is not known: they are not in `costUsd`. */
  callsWithoutPrice: z.number(),
});

const EventFilter = {
  /** `run/<id>`, `agent/<id>`, … */
  subject: z.string().max(200).optional(),
  type: z.string().max(100).optional(),
};

export const listAgents = request(
  'toka.store.query.agents',
  z.object({
    ...page,
    status: z.enum(agentStatuses).exclude(['removed']).optional(),
    workstream: z.string().optional(),
    domain: z.string().optional(),
    priority: Priority.optional(),
  }),
  pageOf(AgentView),
);
export const getAgent = request('toka.store.query.agent', z.object({ ...asked, id: AgentId }), AgentView);
export const listAgentStatus = request('toka.store.query.agent-status', z.object(asked), z.array(AgentStatus));
export const listRuns = request(
  'toka.store.query.runs',
  z.object({
    ...page,
    agentId: AgentId.optional(),
    status: z.enum(runStatuses).optional(),
    workstream: z.string().optional(),
    domain: z.string().optional(),
    priority: Priority.optional(),
    /** Queued at that time or later, and before that one; in UTC. */
    since: z.iso.datetime().optional(),
    until: z.iso.datetime().optional(),
  }),
  pageOf(RunView),
);
export const getRun = request('toka.store.query.run', z.object({ ...asked, id: RunId }), RunView);
export const listApprovals = request(
  'toka.store.query.approvals',
  z.object({ ...page, open: z.boolean().optional(), runId: RunId.optional(), agentId: AgentId.optional() }),
  pageOf(ApprovalView),
);
export const getApproval = request('toka.store.query.approval', z.object({ ...asked, id: ApprovalId }), ApprovalView);
/** The facts that match best come first; without a query, the newest. */
export const recallMemory = request(
  'toka.store.query.memory',
  z.object({
    ...asked,
    agentId: AgentId,
    /** Who asks: a run of an earlier agent of that name is told nothing. */
    runId: RunId.optional(),
    query: z.string().max(1_000).optional(),
    limit: z.number().int().min(1).max(100).default(10),
  }),
  z.array(Memory),
);
/** The newest come first. */
export const listMemories = request(
  'toka.store.query.memories',
  z.object({ ...page, agentId: AgentId }),
  pageOf(Memory),
);
export const getMemory = request(
  'toka.store.query.remembered',
  z.object({ ...asked, agentId: AgentId, id: MemoryId }),
  Memory,
);
/** Those minted last come first. */
export const listKeys = request('toka.store.query.keys', z.object(page), pageOf(KeyView));
export const getKey = request('toka.store.query.key', z.object({ ...asked, id: KeyId }), KeyView);
/** Those made last come first; deleted ones are left out. */
export const listWebhooks = request('toka.store.query.webhooks', z.object(page), pageOf(WebhookView));
export const listSteps = request('toka.store.query.steps', z.object({ ...page, runId: RunId }), pageOf(StepView));
export const listEvents = request('toka.store.query.events', z.object({ ...page, ...EventFilter }), pageOf(EventView));
/**
 * What the log held from one sequence on, for whoever needs what has left it: each message with its subject and its exact bytes in base64, some
 * at a time; `subjects` are NATS', perhaps with wildcards. `next`: where another page begins, and after how many bytes of its first message; null:
 * these are all up to `seq`, the archive's last. `holds`: only an archive that has come to this sequence answers, and others say
 * `unavailable` at once. With `subjects`, what is no event is left out.
 */
export const readLog = request(
  // Beside the questions that people's requests lead to: whoever asks is shown everything.
  'toka.store.log',
  z.object({
    from: Seq,
    offset: z.number().int().nonnegative().default(0),
    until: Seq.optional(),
    subjects: z.array(z.string().max(300)).min(1).max(10).optional(),
    holds: z.number().int().nonnegative().default(0),
  }),
  z.object({
    messages: z.array(z.object({ seq: Seq, subject: z.string(), data: z.string() })),
    next: z.object({ from: Seq, offset: z.number().int().nonnegative() }).nullable(),
    seq: z.number().int().nonnegative(),
  }),
);
export const listUsage = request(
  'toka.store.query.usage',
  z.object({
    ...asked,
    by: z.enum(usageKeys).default('agent'),
    /** Days (UTC): from that one on, and up to that one. */
    since: z.iso.date().optional(),
    until: z.iso.date().optional(),
  }),
  z.array(UsageRow),
);
/** What a budget counts: the known cost of all calls of an endpoint, a model, …, from one day (UTC) to another, both included. */
export const Spender = z.object({
  by: z.enum(['endpoint', 'model', 'agent', 'workstream', 'key']),
  value: z.string().max(300),
  from: z.iso.date(),
  to: z.iso.date(),
});
export type Spender = z.infer<typeof Spender>;
export const getSpending = request(
  'toka.store.query.spending',
  z.object({ ...asked, spenders: z.array(Spender).min(1).max(100) }),
  z.object({ usd: z.array(z.number().nonnegative()) }),
);
/** What lies in the log and is no event that counts: how many there are, and the last. */
export const OddMessages = z.object({
  count: z.number().int().nonnegative(),
  last: z.object({ seq: Seq, subject: z.string() }).nullable(),
});
export const getArchive = request(
  'toka.store.query.archive',
  z.object(asked),
  z.object({
    seq: Seq,
    chainHead: z.string(),
    events: z.number(),
    databaseBytes: z.number(),
    odd: OddMessages,
  }),
);
/**
 * Which of these artifacts are needed still: an event from `firstSeq` on names them, or one of a run that has not ended or that such a run was
 * forked from, or they were delivered at `deliveredSince` or later (UTC; null: whenever it was). `seq`: the last event that was looked at.
 * Throws `unavailable` where what is archived is not what the log holds.
 */
export const listNeeded = request(
  'toka.store.query.artifacts',
  z.object({
    ...asked,
    hashes: z.array(Sha256).max(hashesAskedMax),
    firstSeq: Seq,
    deliveredSince: z.iso.datetime().nullable(),
  }),
  z.object({ needed: z.array(Sha256), seq: Seq }),
);
const ChainHead = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits');

/** What the chain of events came to at one of them, as it was known elsewhere. */
export const Anchor = z.object({ seq: Seq, chainHead: ChainHead });
export type Anchor = z.infer<typeof Anchor>;

/** The same, signed by the store with Ed25519. */
export const Checkpoint = Anchor.extend({
  time: z.iso.datetime(),
  /** As SPKI in DER, in base64; the signature in base64, too. */
  publicKey: z.string().max(200),
  signature: z.string().max(200),
});
export type Checkpoint = z.infer<typeof Checkpoint>;

export const getCheckpoint = request('toka.store.query.checkpoint', z.object(asked), Checkpoint);

export const verifyArchive = request(
  'toka.store.query.verify',
  z.object({ ...asked, anchor: Anchor.optional() }),
  z.object({
    /** Of the archive: its chain, its file, and what the last checkpoint says. */
    intact: z.boolean(),
    checked: z.number(),
    brokenAt: Seq.nullable(),
    chainHead: z.string(),
    /** What SQLite finds wrong with its file. */
    damage: z.string().nullable(),
    /** Of the log, as far as the archive goes: how many events were compared, are missing, or are others. */
    log: z.object({
      checked: z.number(),
      missing: z.number(),
      firstMissing: Seq.nullable(),
      differsAt: Seq.nullable(),
    }),
    /** Whether the chain comes to what was asked about. */
    anchor: z.object({ seq: Seq, holds: z.boolean() }).nullable(),
  }),
);
