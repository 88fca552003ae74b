import { z } from 'zod';
import { AgentSpec, Definition, Work } from './agent.ts';
import { AgentId, EventId } from './ids.ts';
import { Answer, CallFacts } from './llm.ts';
import type { Entity } from './subjects.ts';
import { entitySubject } from './subjects.ts';

/** Bytes in the object store, named by their SHA-256. */
export const ArtifactRef = z.object({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.number().int().nonnegative(),
});
export type ArtifactRef = z.infer<typeof ArtifactRef>;

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

/** Every type of event and the schema of its data: the one list. */
export const eventData = {
  'toka.agent.registered.v1': z.object({ spec: AgentSpec, origin: Origin }),
  'toka.agent.updated.v1': z.object({ spec: AgentSpec, origin: Origin }),
  'toka.agent.paused.v1': Reason,
  'toka.agent.resumed.v1': Reason,
  'toka.agent.removed.v1': Reason,

  'toka.run.queued.v1': z.object({
    agentId: AgentId,
    trigger: z.enum(['objective', 'schedule', 'api']),
    /** The event that asked for this run: with agent and work it makes the run's id, so it is queued once. */
    since: z.string(),
    definition: Definition,
    work: Work,
  }),
  'toka.run.dispatched.v1': Reason,
  'toka.run.started.v1': z.object({ runner: z.string() }),
  'toka.run.step-completed.v1': CallFacts.extend({
    /** Which tools the model called; the arguments are in the answer. */
    calls: z.array(z.object({ callId: z.string(), tool: z.string() })),
    answer: z.union([Answer, z.object({ artifact: ArtifactRef })]),
  }),
  'toka.run.tool-called.v1': z.object({ callId: z.string(), tool: z.string() }),
  'toka.run.tool-returned.v1': z.object({
    callId: z.string(),
    tool: z.string(),
    isError: z.boolean(),
    text: z.string(),
    durationMs: z.number().nonnegative(),
  }),
  'toka.run.deliverable-submitted.v1': Deliverable.extend({ callId: z.string().nullable() }),
  'toka.run.validated.v1': z.object({ pass: z.boolean(), reasons: z.array(z.string()), facts: CallFacts.nullable() }),
  'toka.run.completed.v1': z.object({ result: z.string() }),
  'toka.run.failed.v1': RunError,
  'toka.run.retry-scheduled.v1': RunError.extend({ at: z.iso.datetime() }),
  'toka.run.cancelled.v1': Reason,

  'toka.llm.called.v1': CallFacts.extend({
    key: z.string(),
    agentId: z.string().nullable(),
    runId: z.string().nullable(),
    outcome: z.string(),
  }),

  'toka.system.started.v1': z.object({ service: z.string(), instance: z.string(), version: z.string() }),
  'toka.system.stopped.v1': z.object({ service: z.string(), instance: z.string(), reason: z.string() }),
  'toka.system.config-loaded.v1': z.object({
    file: z.string(),
    registered: z.array(AgentId),
    updated: z.array(AgentId),
    problems: z.array(z.object({ field: z.string(), message: z.string(), line: z.number().optional() })),
  }),
  'toka.system.access-denied.v1': z.object({
    method: z.string(),
    path: z.string(),
    code: z.string(),
    detail: z.string(),
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
  /** `run/<id>`, `agent/<id>`, `llm/<key>` or `system/<service>` */
  subject: z.string().regex(/^(agent|run|llm|system)\/[^/\s]+$/),
  time: z.iso.datetime(),
  datacontenttype: z.literal('application/json'),
  /** The run or agent that this belongs to, across entities. */
  correlationid: z.string().optional(),
  /** The event that led to this one. */
  causationid: z.string().optional(),
  /** Who did it: `user:<sub>`, `service:<name>`, `agent:<id>`. */
  actor: z.string(),
  traceparent: z.string().optional(),
});
type Envelope = z.infer<typeof Envelope>;

type EventOf<T extends EventType> = { [K in T]: Omit<Envelope, 'type'> & { type: K; data: DataOf<K> } }[T];

/** Any event, its data typed by its type. */
export type TokaEvent = EventOf<EventType>;
export type AgentEvent = EventOf<Extract<EventType, `toka.agent.${string}`>>;
export type RunEvent = EventOf<Extract<EventType, `toka.run.${string}`>>;
export type LlmEvent = EventOf<Extract<EventType, `toka.llm.${string}`>>;

/** An event in its place in the log. */
export type Recorded<E extends TokaEvent = TokaEvent> = E & { seq: number };

/** What a decision yields: type and data; the shell around it adds the envelope. */
export type Draft<T extends EventType = EventType> = { [K in T]: { type: K; data: DataOf<K> } }[T];
export type AgentDraft = Draft<AgentEvent['type']>;
export type RunDraft = Draft<RunEvent['type']>;

const AnyEvent = Envelope.extend({ data: z.unknown() });

/** Reads an event from what came over the wire; an unknown type or malformed data is a ZodError. */
export function parseEvent(value: unknown): TokaEvent {
  const event = AnyEvent.parse(value);
  return { ...event, data: eventData[event.type].parse(event.data) } as TokaEvent;
}

/** The stream subject of an event: `run/run_1` lives on `toka.events.run.run_1`. */
export function subjectOf(event: Pick<TokaEvent, 'subject'>): string {
  const [entity = '', id = ''] = event.subject.split('/');
  return entitySubject(entity as Entity, id);
}

export const isAgentEvent = (event: Recorded): event is Recorded<AgentEvent> => event.type.startsWith('toka.agent.');
export const isRunEvent = (event: Recorded): event is Recorded<RunEvent> => event.type.startsWith('toka.run.');
export const isLlmEvent = (event: Recorded): event is Recorded<LlmEvent> => event.type.startsWith('toka.llm.');
