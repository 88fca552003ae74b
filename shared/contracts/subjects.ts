import type { Priority } from './ids.ts';

/** The log: one stream, the only thing by which a service changes another's mind. */
export const eventsStream = 'EVENTS';
export const eventsSubjects = 'toka.events.>';

/** Where the stream tells of each event that it has taken, for those who follow: `toka.events.run.x` comes again as `toka.log.run.x`. */
export const logSubjects = 'toka.log.>';
/** Where events of these subjects, which may have wildcards, are told of. */
export const logSubjectOf = (subject: string): string => subject.replace(/^toka\.events\./, 'toka.log.');

/** The work queue: runs that a runner may start now. */
export const tasksStream = 'TASKS';
export const tasksSubjects = 'toka.tasks.>';

/** The object store for what is too big for an event. */
export const artifactsBucket = 'artifacts';

/** States that services keep so as not to begin from the log's first event. */
export const snapshotsStream = 'SNAPSHOTS';
export const snapshotSubject = (name: string, part: string) => `toka.snapshots.${name}.${part}`;

/** The stream behind a key-value bucket, and the subject of a key: as NATS' own clients name them. */
export const keyValueStream = (bucket: string) => `KV_${bucket}`;
export const keySubject = (bucket: string, key: string) => `$KV.${bucket}.${key}`;

/** The stream behind an object store. */
export const objectStream = (bucket: string) => `OBJ_${bucket}`;

/** How far those have come who read the log for others. */
export const positionsBucket = 'positions';

/** What the store says of the log: whether it may be written on. */
export const logBucket = 'log';
export const logStateKey = 'state';
export const logStateSubject = keySubject(logBucket, logStateKey);
/** Where a store says how far its archive has come. */
export const archiveKey = (archive: string) => `archive.${archive}`;

/** Who of several instances leads: a key that expires. */
export const leasesBucket = 'leases';

/** What every replica must know for a day: requests that were answered. */
export const notesBucket = 'notes';

/** `decision`: what people decide about a run, on a subject that the gateway alone may write. */
export type Entity = 'agent' | 'run' | 'decision' | 'memory' | 'key' | 'webhook' | 'token' | 'llm' | 'system';

/** The subject that holds an entity's events, e.g. `toka.events.run.run_01…`. */
export const entitySubject = (entity: Entity, id: string) => `toka.events.${entity}.${id}`;

export const taskSubject = (priority: Priority, runId: string) => `toka.tasks.${priority}.${runId}`;

/** A nudge that something was decided about a run; the event is the truth. */
export const controlSubject = (runId: string) => `toka.control.run.${runId}`;

/** Asked of every instance. */
export const metricsSubject = 'toka.metrics';
export const healthSubject = 'toka.health';
