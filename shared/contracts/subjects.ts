import type { Priority } from './ids.ts';

/** The log: one stream, the only thing by which a service changes another's mind. */
export const eventsStream = 'EVENTS';
export const eventsSubjects = 'toka.events.>';

/** The work queue: runs that a runner may start now. */
export const tasksStream = 'TASKS';
export const tasksSubjects = 'toka.tasks.>';

/** The object store for what is too big for an event. */
export const artifactsBucket = 'artifacts';

/** The object store for states that services keep so as not to begin from the log's first event. */
export const snapshotsBucket = 'snapshots';

/** How far those have come who read the log for others. */
export const positionsBucket = 'positions';

/** What the store says of the log: whether it may be written on. */
const logBucket = 'log';
export const logStateStream = `KV_${logBucket}`;
export const logStateSubjects = `$KV.${logBucket}.>`;
export const logStateSubject = `$KV.${logBucket}.state`;

/** Who of several instances leads: a key that expires. */
export const leasesBucket = 'leases';

/** The key-value bucket for what every replica must know for a day: requests that were answered. */
const notesBucket = 'notes';
export const notesStream = `KV_${notesBucket}`;
export const noteSubject = (name: string) => `$KV.${notesBucket}.${name}`;

export type Entity = 'agent' | 'run' | 'memory' | 'key' | 'webhook' | 'llm' | 'system';

/** The subject that holds an entity's events, e.g. `toka.events.run.run_01…`. */
export const entitySubject = (entity: Entity, id: string) => `toka.events.${entity}.${id}`;

export const taskSubject = (priority: Priority, runId: string) => `toka.tasks.${priority}.${runId}`;

/** A nudge that something was decided about a run; the event is the truth. */
export const controlSubject = (runId: string) => `toka.control.run.${runId}`;

/** Asked of every instance. */
export const metricsSubject = 'toka.metrics';
export const healthSubject = 'toka.health';
