import { z } from 'zod';
import { AgentSpec, Definition, Work } from './agent.ts';
import { Approval, Decided } from './approval.ts';
import { ArtifactRef, NamedArtifact, Snapshot, WorkspaceBase } from './artifact.ts';
import { AgentId, EventId, MemoryId, RunId } from './ids.ts';
import { KeyHash, KeyTerms } from './key.ts';
import { Answer, CallFacts } from './llm.ts';
import type { Entity } from './subjects.ts';
import { entitySubject } from './subjects.ts';
import { WebhookTerms } from './webhook.ts';

export const Deliverable = z.object({
  /** Its file name, e.g. `inventory.md`. */
  name: z.string(),
  mediaType: z.string(),
  summary: z.string(),
  artifact: ArtifactRef,
});
export type Deliverable = z.infer<typeof Deliverable>;

/** What went wrong, for people and for the rule that decides on a retry. */
export const RunError = z.object({ code: z.string(), message: z.string() });
export type RunError = z.infer<typeof RunError>;

const Origin = z.enum(['file', 'api']);
const Reason = z.object({ reason: z.string() });

/** What asked for a run. */
export const Trigger = z.enum(['objective', 'schedule', 'api', 'delegate']);
export type Trigger = z.infer<typeof Trigger>;

/** `depth`: 1 for a child of a run that nobody delegated. */
export const Parent = z.object({ runId: RunId, callId: z.string(), depth: z.number().int().positive() });
export type Parent = z.infer<typeof Parent>;

/** What a forked run begins with: how another stood after its event `at`, and what a person says to it there. */
export const Fork = z.object({
  runId: RunId,
  at: z.number().int().positive(),
  message: z.string().optional(),
  state: z.object({
    pending: z.array(z.object({ callId: z.string(), tool: z.string() })),
    workspace: z.object({ base: WorkspaceBase, snapshots: z.array(Snapshot) }).nullable(),
    deliverable: Deliverable.nullable(),
    contextTokens: z.number().int().nonnegative(),
    compactions: z.number().int().nonnegative(),
    lastText: z.string(),
  }),
});
export type Fork = z.infer<typeof Fork>;

/** The limit that ended a tool call. */
export const Killed = z.enum(['memory', 'time', 'processes', 'output', 'sandbox', 'interrupted']);
export type Killed = z.infer<typeof Killed>;

/** What a tool call took: processor seconds, most memory at a time, and traffic with the outside, in bytes. */
export const ToolResources = z.object({
  cpuSeconds: z.number().nonnegative(),
  peakBytes: z.number().nonnegative(),
  bytesIn: z.number().nonnegative(),
  bytesOut: z.number().nonnegative(),
});
export type ToolResources = z.infer<typeof ToolResources>;

/** Every type of event and the schema of its data: the one list. */
export const eventData = {
  'toka.agent.registered.v1': z.object({ spec: AgentSpec, origin: Origin }),
  'toka.agent.updated.v1': z.object({ spec: AgentSpec, origin: Origin }),
  'toka.agent.paused.v1': Reason,
  'toka.agent.resumed.v1': Reason,
  'toka.agent.removed.v1': Reason,
  /** It fails again and again: nothing new is started until a person resumes it. */
  'toka.agent.quarantined.v1': Reason,

  'toka.run.queued.v1': z.object({
    agentId: AgentId,
    trigger: Trigger,
    /** The event that asked for this run: with agent and work it makes the run's id, so it is queued once. */
    since: z.string(),
    definition: Definition,
    work: Work,
    /** The tool call of another run that asked for this one. */
    parent: Parent.nullable().default(null),
    /** The ended run that this one does again. */
    retryOf: RunId.optional(),
    forkOf: Fork.optional(),
    /** It is not begun before. */
    runAt: z.iso.datetime().optional(),
  }),
  'toka.run.dispatched.v1': Reason,
  'toka.run.started.v1': z.object({ runner: z.string() }),
  'toka.run.step-completed.v1': CallFacts.extend({
    /** Which tools the model called; the arguments are in the answer. */
    calls: z.array(z.object({ callId: z.string(), tool: z.string() })),
    answer: z.union([Answer, z.object({ artifact: ArtifactRef })]),
    /** Said to the model last before this answer, on how the run stands. */
    notes: z.array(z.string()).optional(),
    /** The model had before it what people had said up to this sequence; later words it does not know. Not set: all that the log has before. */
    heard: z.number().int().nonnegative().optional(),
  }),
  'toka.run.tool-called.v1': z.object({ callId: z.string(), tool: z.string() }),
  'toka.run.tool-returned.v1': z.object({
    callId: z.string(),
    tool: z.string(),
    isError: z.boolean(),
    /** What the model is told; where it is long, its beginning, and all of it is in `whole`. */
    text: z.string(),
    whole: ArtifactRef.optional(),
    image: z.object({ mediaType: z.string(), artifact: ArtifactRef }).optional(),
    killed: Killed.optional(),
    resources: ToolResources.optional(),
    snapshot: Snapshot.optional(),
    durationMs: z.number().nonnegative(),
  }),
  /** A call of a tool that the agent was not granted; `allowed`: it was made all the same, for CAPABILITY_VALIDATION says so. */
  'toka.run.capability-missed.v1': z.object({
    callId: z.string(),
    tool: z.string(),
    needs: z.string(),
    allowed: z.boolean(),
  }),
  'toka.run.approval-requested.v1': Approval,
  'toka.run.approval-decided.v1': Decided,
  /** A person's word to a run; `interrupt`: whatever it is at is left off. */
  'toka.run.message-received.v1': z.object({ text: z.string(), mode: z.enum(['enqueue', 'interrupt']) }),
  'toka.run.paused.v1': Reason,
  'toka.run.resumed.v1': Reason,
  'toka.run.delegated.v1': z.object({ callId: z.string(), runId: RunId, agentId: AgentId }),
  'toka.run.child-ended.v1': z.object({
    callId: z.string(),
    runId: RunId,
    status: z.enum(['completed', 'failed', 'cancelled']),
    result: z.string(),
    usage: z.object({ inputTokens: z.number(), outputTokens: z.number(), costUsd: z.number().nullable() }),
  }),
  /** The conversation had filled the model's window: old tools' results were left out, or all but the last steps summed up. */
  'toka.run.context-compacted.v1': z.object({
    keptSteps: z.number().int().nonnegative(),
    /** Null: only the results of tools before the kept steps were left out. */
    summary: z.string().nullable(),
    facts: CallFacts.nullable(),
  }),
  'toka.run.workspace-opened.v1': WorkspaceBase,
  /** The workspace as it was beside any call: what is validated now. */
  'toka.run.workspace-saved.v1': z.object({ snapshot: Snapshot }),
  /** What became of the workspace in the end: what the run changed, and files that it keeps. */
  'toka.run.workspace-kept.v1': z.object({
    branch: z.string(),
    base: z.string().nullable(),
    head: z.string().nullable(),
    commits: z.number().int().nonnegative(),
    diff: ArtifactRef.nullable(),
    bundle: ArtifactRef.nullable(),
    /** Whether the branch is in the agent's repository now, or why not. */
    pushed: z.string(),
    artifacts: z.array(NamedArtifact),
  }),
  'toka.run.deliverable-submitted.v1': Deliverable.extend({ callId: z.string().nullable() }),
  'toka.run.validated.v1': z.object({
    pass: z.boolean(),
    reasons: z.array(z.string()),
    facts: CallFacts.nullable(),
    /** The validation_command's end, where the work has one. */
    command: z.object({ exitCode: z.number().nullable(), output: z.string() }).optional(),
  }),
  'toka.run.completed.v1': z.object({ result: z.string() }),
  'toka.run.failed.v1': RunError,
  'toka.run.retry-scheduled.v1': RunError.extend({ at: z.iso.datetime() }),
  'toka.run.cancelled.v1': Reason,
  /** Another run goes on from how this one stood after its event `at`. */
  'toka.run.forked.v1': z.object({ runId: RunId, at: z.number().int().positive() }),

  'toka.memory.remembered.v1': z.object({ id: MemoryId, text: z.string(), runId: RunId.nullable() }),
  'toka.memory.forgotten.v1': z.object({ id: MemoryId }),

  'toka.key.minted.v1': z.object({ ...KeyTerms.shape, hash: KeyHash, owner: z.string() }),
  'toka.key.revoked.v1': Reason,

  /** `sealed`: its secret, which the gateways alone can open. */
  'toka.webhook.created.v1': z.object({ ...WebhookTerms.shape, sealed: z.string(), owner: z.string() }),
  'toka.webhook.disabled.v1': Reason,
  /** `skip`: what came while it was disabled is left out. */
  'toka.webhook.enabled.v1': Reason.extend({ skip: z.boolean() }),
  /** The same secret, sealed with another key. */
  'toka.webhook.resealed.v1': z.object({ sealed: z.string() }),
  'toka.webhook.deleted.v1': Reason,

  /** Whoever shows it is refused from now on. */
  'toka.token.revoked.v1': Reason.extend({ jti: z.string(), iss: z.string().nullable() }),

  'toka.llm.called.v1': CallFacts.extend({
    key: z.string(),
    agentId: z.string().nullable(),
    runId: z.string().nullable(),
    workstream: z.string().nullable().optional(),
    /** The model as limits and prices know it; `model` is what the provider calls it. */
    requestModel: z.string().optional(),
    outcome: z.string(),
  }),

  'toka.system.started.v1': z.object({ service: z.string(), instance: z.string(), version: z.string() }),
  'toka.system.stopped.v1': z.object({ service: z.string(), instance: z.string(), reason: z.string() }),
  'toka.system.config-loaded.v1': z.object({
    file: z.string(),
    registered: z.array(AgentId),
    updated: z.array(AgentId),
    /** What was not done as the file says, and why. */
    left: z.array(z.object({ agent: AgentId, reason: z.string() })).default([]),
    problems: z.array(z.object({ field: z.string(), message: z.string(), line: z.number().optional() })),
  }),
  'toka.system.access-denied.v1': z.object({
    method: z.string(),
    path: z.string(),
    code: z.string(),
    detail: z.string(),
    address: z.string().optional(),
    /** How many refusals of this client in ten seconds this stands for; one where it is not given. */
    count: z.number().int().positive().optional(),
  }),
} as const;

export type EventType = keyof typeof eventData;
export type DataOf<T extends EventType> = z.infer<(typeof eventData)[T]>;
export const eventTypes = Object.keys(eventData) as EventType[];

/** The CloudEvents 1.0 envelope that every event wears. */
export const Envelope = z.object({
  specversion: z.literal('1.0'),
  id: EventId,
  /** `/toka/<service>/<instance>` */
  source: z.string(),
  type: z.enum(eventTypes as [EventType, ...EventType[]]),
  /** `run/<id>`, `agent/<id>`, `memory/<agent>`, `key/<id>`, `webhook/<id>`, `token/<digest>`, `llm/<key>` or `system/<service>` */
  subject: z.string().regex(/^(agent|run|memory|key|webhook|token|llm|system)\/[^/\s]+$/),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  /** The run or agent that this belongs to, across entities. */
  correlationid: z.string().optional(),
  /** The event that led to this one. */
  causationid: z.string().optional(),
  /** Who did it: `user:<sub>`, `service:<name>`, `agent:<id>`. */
  actor: z.string(),
  traceparent: z.string().optional(),
  tracestate: z.string().optional(),
  /** A person's word about a run: such events have a subject on NATS that the gateway alone may write. */
  decision: z.literal(true).optional(),
});
type Envelope = z.infer<typeof Envelope>;

type EventOf<T extends EventType> = { [K in T]: Omit<Envelope, 'type'> & { type: K; data: DataOf<K> } }[T];

/** Any event, its data typed by its type. */
export type TokaEvent = EventOf<EventType>;
export type AgentEvent = EventOf<Extract<EventType, `toka.agent.${string}`>>;
export type RunEvent = EventOf<Extract<EventType, `toka.run.${string}`>>;
export type MemoryEvent = EventOf<Extract<EventType, `toka.memory.${string}`>>;
export type KeyEvent = EventOf<Extract<EventType, `toka.key.${string}`>>;
export type WebhookEvent = EventOf<Extract<EventType, `toka.webhook.${string}`>>;
export type LlmEvent = EventOf<Extract<EventType, `toka.llm.${string}`>>;

/** An event in its place in the log. */
export type Recorded<E extends TokaEvent = TokaEvent> = E & { seq: number };

/** What a decision yields: type and data; the shell around it adds the envelope. */
export type Draft<T extends EventType = EventType> = { [K in T]: { type: K; data: DataOf<K> } }[T];
export type AgentDraft = Draft<AgentEvent['type']>;
export type RunDraft = Draft<RunEvent['type']>;
export type KeyDraft = Draft<KeyEvent['type']>;
export type WebhookDraft = Draft<WebhookEvent['type']>;

const AnyEvent = Envelope.extend({ data: z.unknown() });

/** Reads an event from what came over the wire; an unknown type or malformed data is a ZodError. */
export function parseEvent(value: unknown): TokaEvent {
  const event = AnyEvent.parse(value);
  return { ...event, data: eventData[event.type].parse(event.data) } as TokaEvent;
}

/** The stream subject of an event: `run/run_1` lives on `toka.events.run.run_1`, what people say about it on `toka.events.decision.run_1`. */
export function subjectOf(event: Pick<TokaEvent, 'subject' | 'decision'>): string {
  const [entity = '', id = ''] = event.subject.split('/');
  return entitySubject(event.decision ? 'decision' : (entity as Entity), id);
}

/** Types of what a person says about a run; some of them come from other services, too. */
export const decisionTypes = [
  'toka.run.queued.v1',
  'toka.run.forked.v1',
  'toka.run.approval-decided.v1',
  'toka.run.cancelled.v1',
  'toka.run.message-received.v1',
  'toka.run.paused.v1',
  'toka.run.resumed.v1',
] as const satisfies readonly EventType[];

/**
 * Whether it is what a person says about a run. The scheduler, too, may queue and end one, or say that a person's time to answer is over, and a
 * run may ask for another.
 */
export function isDecision({ type, actor, data }: Draft & { actor: string }): boolean {
  switch (type) {
    case 'toka.run.queued.v1':
      return actor.startsWith('user:') || (data as DataOf<typeof type>).trigger === 'api';
    case 'toka.run.forked.v1':
    case 'toka.run.message-received.v1':
    case 'toka.run.paused.v1':
    case 'toka.run.resumed.v1':
      return true;
    case 'toka.run.approval-decided.v1':
      return (data as DataOf<typeof type>).decision !== 'expired';
    case 'toka.run.cancelled.v1':
      return actor.startsWith('user:');
    default:
      return false;
  }
}

/** What is followed of the log for the events of `run/run_1`, of `run/*` and the like. */
export function filtersOf(subject: string): string[] {
  const [entity, id = '*'] = subject.split('/');
  const own = entitySubject(entity as Entity, id);
  return entity === 'run' ? [own, entitySubject('decision', id)] : [own];
}

export const isAgentEvent = (event: Recorded): event is Recorded<AgentEvent> => event.type.startsWith('toka.agent.');
export const isRunEvent = (event: Recorded): event is Recorded<RunEvent> => event.type.startsWith('toka.run.');
export const isMemoryEvent = (event: Recorded): event is Recorded<MemoryEvent> => event.type.startsWith('toka.memory.');
export const isKeyEvent = (event: Recorded): event is Recorded<KeyEvent> => event.type.startsWith('toka.key.');
export const isWebhookEvent = (event: Recorded): event is Recorded<WebhookEvent> =>
  event.type.startsWith('toka.webhook.');
export const isLlmEvent = (event: Recorded): event is Recorded<LlmEvent> => event.type.startsWith('toka.llm.');

/** Whether a type is the one that is wanted, or begins as it says. */
export const fits = (wanted: string, type: string): boolean =>
  wanted.endsWith('*') ? type.startsWith(wanted.slice(0, -1)) : type === wanted;
