import type { ConsumerConfig, JetStreamManager, StreamConfig } from 'nats';
import { AckPolicy, DeliverPolicy, DiscardPolicy, nanos, RetentionPolicy, StorageType } from 'nats';
import {
  artifactsBucket,
  eventsStream,
  eventsSubjects,
  leasesBucket,
  logStateStream,
  logStateSubjects,
  noteSubject,
  notesStream,
  positionsBucket,
  snapshotsBucket,
  tasksStream,
  tasksSubjects,
} from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { leaseMs } from './lease.ts';
import { streamOf } from './objects.ts';

/** How long a publisher may repeat a message with the same id before it would count as new. */
export const dedupWindowMs = 120_000;

const events = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: eventsStream,
  subjects: [eventsSubjects],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  num_replicas: replicas,
  duplicate_window: nanos(dedupWindowMs),
  allow_direct: true,
  deny_delete: true,
});

const tasks = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: tasksStream,
  subjects: [tasksSubjects],
  retention: RetentionPolicy.Workqueue,
  storage: StorageType.File,
  // A run has one task: a new one takes the place of an old one that nobody finished.
  max_msgs_per_subject: 1,
  num_replicas: replicas,
  duplicate_window: nanos(dedupWindowMs),
});

/** The newest word on the log itself: whether it may be written on. */
const logState = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: logStateStream,
  subjects: [logStateSubjects],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_msgs_per_subject: 1,
  num_replicas: replicas,
  deny_delete: true,
});

/** Leases expire by themselves: a value lives as long as a lease without a renewal. */
const leases = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: `KV_${leasesBucket}`,
  subjects: [`$KV.${leasesBucket}.>`],
  retention: RetentionPolicy.Limits,
  storage: StorageType.Memory,
  discard: DiscardPolicy.New,
  max_msgs_per_subject: 1,
  max_age: nanos(leaseMs),
  duplicate_window: nanos(leaseMs),
  num_replicas: replicas,
  allow_rollup_hdrs: true,
  deny_delete: true,
});

/** The newest position of each reader. */
const positions = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: `KV_${positionsBucket}`,
  subjects: [`$KV.${positionsBucket}.>`],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_msgs_per_subject: 1,
  num_replicas: replicas,
  allow_rollup_hdrs: true,
  deny_delete: true,
});

const notesMs = 86_400_000;
const notesBytesMax = 512 * 1024 ** 2;

/** When there is no room for more, the oldest is forgotten before its day is over: nobody's flood keeps others from asking. */
const notes = (replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: notesStream,
  subjects: [noteSubject('>')],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.Old,
  max_msgs_per_subject: 1,
  max_age: nanos(notesMs),
  max_bytes: notesBytesMax,
  duplicate_window: nanos(dedupWindowMs),
  num_replicas: replicas,
});

/**
 * The stream behind an object store. Made here, not by the client's `views.os`: that sends a field `replicas`, which servers from
 * 2.12 on refuse as unknown.
 */
const objects = (bucket: string, replicas: number): Partial<StreamConfig> & { name: string } => ({
  name: streamOf(bucket),
  subjects: [`$O.${bucket}.C.>`, `$O.${bucket}.M.>`],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  num_replicas: replicas,
  allow_direct: true,
  allow_rollup_hdrs: true,
});

/** What everyone needs, and what one service does: so that makes it itself, and stands whether the store is up or not. */
const streams = {
  log: (replicas: number) => [
    events(replicas),
    logState(replicas),
    tasks(replicas),
    objects(artifactsBucket, replicas),
    notes(replicas),
  ],
  leases: (replicas: number) => [objects(snapshotsBucket, replicas), leases(replicas)],
  positions: (replicas: number) => [positions(replicas)],
};
export type StreamGroup = keyof typeof streams;
export const streamGroups = Object.keys(streams) as StreamGroup[];

/** Makes the streams of these groups, and the runners' consumer with the queue, where they are missing. */
export async function declareStreams(
  jsm: JetStreamManager,
  groups: readonly StreamGroup[],
  { replicas, leaseMs: holdMs }: { replicas: number; leaseMs: number },
): Promise<void> {
  for (const wanted of groups.flatMap((group) => streams[group](replicas))) {
    const info = await declareStream(jsm, wanted);
    checkEcho(`stream ${wanted.name}`, { subjects: wanted.subjects, retention: wanted.retention }, info.config);
  }
  if (groups.includes('log')) await declareTaskConsumer(jsm, holdMs);
}

/** Waits until another has made the streams that everyone needs. Throws `unavailable` after `deadlineMs`. */
export async function streamsDeclared(jsm: JetStreamManager, deadlineMs: number): Promise<void> {
  const until = Date.now() + deadlineMs;
  for (const { name } of streams.log(1)) {
    while (!(await jsm.streams.info(name).catch(() => undefined))) {
      if (Date.now() > until)
        throw new Failure('unavailable', `there is no stream ${name} yet: the store makes it; is it running?`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function declareStream(jsm: JetStreamManager, wanted: Partial<StreamConfig> & { name: string }) {
  const look = () => jsm.streams.info(wanted.name);
  // Another service may make it at the same moment: then it is there by now.
  const info = await look().catch(() =>
    jsm.streams.add(wanted).catch((error) => look().catch(() => Promise.reject(error))),
  );
  if (info.config.num_replicas === wanted.num_replicas) return info;
  return jsm.streams.update(wanted.name, { ...info.config, num_replicas: wanted.num_replicas });
}

/** The runners' one consumer. The scheduler decides the order, and late: the queue is kept short. */
export const runnersConsumer = 'runners';

/** The durable consumer on the work queue; a task that is not renewed within `holdMs` goes to another runner. */
async function declareTaskConsumer(jsm: JetStreamManager, holdMs: number): Promise<void> {
  const isThere = await jsm.consumers.info(tasksStream, runnersConsumer).catch(() => undefined);
  // Earlier versions had one for each priority; a work queue bears no two for the same messages.
  const former = isThere ? [] : ['critical', 'high', 'medium', 'low'].map((priority) => `runners-${priority}`);
  for (const name of former) await jsm.consumers.delete(tasksStream, name).catch(() => false);
  await declareConsumer(jsm, tasksStream, {
    durable_name: runnersConsumer,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(holdMs),
    max_deliver: -1,
    max_ack_pending: 100_000,
  });
}

/** A durable consumer over the whole log for a reader that keeps its own position. */
export async function declareArchiveConsumer(jsm: JetStreamManager, name: string, from: number): Promise<void> {
  await declareConsumer(jsm, eventsStream, {
    durable_name: name,
    ack_policy: AckPolicy.All,
    ack_wait: nanos(30_000),
    max_ack_pending: 20_000,
    ...startingAt(from),
  });
}

/** Makes that consumer anew, to start at `from`. */
export async function resetArchiveConsumer(jsm: JetStreamManager, name: string, from: number): Promise<void> {
  await jsm.consumers.delete(eventsStream, name).catch(() => false);
  await declareArchiveConsumer(jsm, name, from);
}

export const startingAt = (from: number): Partial<ConsumerConfig> =>
  from <= 1
    ? { deliver_policy: DeliverPolicy.All }
    : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from };

async function declareConsumer(
  jsm: JetStreamManager,
  stream: string,
  wanted: Partial<ConsumerConfig> & { durable_name: string },
) {
  const found = await jsm.consumers.info(stream, wanted.durable_name).catch(() => undefined);
  const lease = wanted.ack_wait;
  const info =
    found && found.config.ack_wait !== lease
      ? await jsm.consumers.update(stream, wanted.durable_name, wanted)
      : (found ?? (await jsm.consumers.add(stream, wanted)));
  const { filter_subject, ack_policy, ack_wait } = wanted;
  checkEcho(`consumer ${wanted.durable_name}`, { filter_subject, ack_policy, ack_wait }, info.config);
}

/** Older servers drop fields that they do not know without a word: what came back must be what was asked for. */
function checkEcho(what: string, wanted: object, got: object): void {
  for (const [field, value] of Object.entries(wanted)) {
    if (value === undefined) continue;
    const echoed = (got as Record<string, unknown>)[field];
    if (JSON.stringify(echoed) !== JSON.stringify(value)) {
      throw new Failure(
        'internal',
        `${what}: nats-server has ${field} = ${JSON.stringify(echoed)} where ${JSON.stringify(value)} is needed; is its version older than 2.9, or was it made by another program?`,
      );
    }
  }
}

/** Waits until JetStream answers: right after a start it may not yet. */
export async function jetStreamReady(
  open: () => Promise<JetStreamManager>,
  deadlineMs: number,
): Promise<JetStreamManager> {
  const until = Date.now() + deadlineMs;
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (Date.now() > until) {
        throw new Failure(
          'unavailable',
          `JetStream does not answer: ${messageOf(error)}; is nats-server started with -js?`,
          { cause: error },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
