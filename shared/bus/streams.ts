import type { ConsumerConfig, JetStreamManager, NatsConnection, StreamConfig, StreamInfo } from 'nats';
import { AckPolicy, DiscardPolicy, nanos, RetentionPolicy, StorageType } from 'nats';
import {
  artifactsBucket,
  eventsStream,
  eventsSubjects,
  keySubject,
  keyValueStream,
  leasesBucket,
  logBucket,
  logSubjects,
  notesBucket,
  objectStream,
  positionsBucket,
  snapshotSubject,
  snapshotsStream,
  tasksStream,
  tasksSubjects,
} from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { leaseMs } from './lease.ts';
import { dedupWindowMs } from './publish.ts';
import { isBeingRemade, isChangeRefused, remakeStream } from './remake.ts';

type Stream = Partial<StreamConfig> & { name: string; subjects: string[] };

/** Nobody but the admin's user may make, change, empty or roll up any of these: see users.ts. */
const stored = {
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  duplicate_window: nanos(dedupWindowMs),
} as const;

/** The newest message of each subject. */
const newest = { ...stored, max_msgs_per_subject: 1 } as const;

const notesMs = 86_400_000;
const notesMax = 65_536;
/** With its headers; gateways keep no answer of more than 32 KiB. */
const noteBytesMax = 40 * 1024;

const leasesStream = keyValueStream(leasesBucket);

const streams: readonly Stream[] = [
  {
    ...stored,
    name: eventsStream,
    subjects: [eventsSubjects],
    // Whoever follows the log hears of each message once it is stored: see tail.ts.
    republish: { src: eventsSubjects, dest: logSubjects },
    deny_delete: true,
  },
  {
    name: tasksStream,
    subjects: [tasksSubjects],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    // A run has one task: a new one takes the place of an old one that nobody finished.
    max_msgs_per_subject: 1,
    duplicate_window: nanos(dedupWindowMs),
  },
  {
    ...stored,
    name: objectStream(artifactsBucket),
    subjects: [`$O.${artifactsBucket}.C.>`, `$O.${artifactsBucket}.M.>`],
    // NATS' own clients read objects so.
    allow_direct: true,
  },
  { ...newest, name: snapshotsStream, subjects: [snapshotSubject('>', '').slice(0, -1)] },
  // Leases expire by themselves: a value lives as long as a lease without a renewal.
  {
    ...newest,
    name: leasesStream,
    subjects: [keySubject(leasesBucket, '>')],
    max_age: nanos(leaseMs),
    duplicate_window: nanos(leaseMs),
  },
  { ...newest, name: keyValueStream(logBucket), subjects: [keySubject(logBucket, '>')] },
  { ...newest, name: keyValueStream(positionsBucket), subjects: [keySubject(positionsBucket, '>')] },
  // When there are too many, the oldest is forgotten before its day is over: nobody's flood keeps others from asking. Bounded by number
  // and size: JetStream sets aside what max_bytes says, used or not, and without so much on its disk it makes no stream.
  {
    ...newest,
    name: keyValueStream(notesBucket),
    subjects: [keySubject(notesBucket, '>')],
    discard: DiscardPolicy.Old,
    max_age: nanos(notesMs),
    max_bytes: -1,
    max_msgs: notesMax,
    max_msg_size: noteBytesMax,
  },
];

/** Makes the streams and the runners' consumer where they are missing, and brings those of earlier versions to what they are now. */
export async function declareStreams(
  nc: NatsConnection,
  jsm: JetStreamManager,
  { replicas, leaseMs: holdMs }: { replicas: number; leaseMs: number },
): Promise<void> {
  for (const name of formerStreams) await jsm.streams.delete(name).catch(() => false);
  for (const stream of streams) {
    const wanted = { ...stream, num_replicas: replicas };
    const info = await declareStream(nc, jsm, wanted);
    const { subjects, retention, storage, republish } = wanted;
    checkEcho(`stream ${wanted.name}`, { subjects, retention, storage, republish }, info.config);
  }
  await declareTaskConsumer(jsm, holdMs);
}

/** States that can be made again, in a store of an earlier version's. */
const formerStreams = ['OBJ_snapshots'];

/**
 * Waits until the admin has made the streams. Answers the sequence up to which people's decisions lie among a run's other events, as
 * earlier versions wrote them. Throws `unavailable` after `deadlineMs`.
 */
export async function streamsDeclared(jsm: JetStreamManager, deadlineMs: number): Promise<number> {
  const untilMs = performance.now() + deadlineMs;
  const find = async (name: string): Promise<StreamConfig> => {
    for (;;) {
      const info = await jsm.streams.info(name).catch(() => undefined);
      if (info && (name !== eventsStream || !Number.isNaN(decisionsSince(info.config.description)))) return info.config;
      if (performance.now() > untilMs)
        throw new Failure(
          'unavailable',
          `there is no stream ${name} of this version yet: npm start makes it, and in the stack the container set-up-nats`,
        );
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const configs = await Promise.all(streams.map(({ name }) => find(name)));
  return decisionsSince(configs.find(({ name }) => name === eventsStream)?.description);
}

/** Only the admin's user can write a stream's description, so it is where a log says which rules it began with. */
const describe = (seq: number) => `Toka's log; people's decisions count on their own subjects after ${seq}`;
const decisionsSince = (description = ''): number => Number(/after (\d+)$/.exec(description)?.[1] ?? Number.NaN);

async function declareStream(nc: NatsConnection, jsm: JetStreamManager, wanted: Stream): Promise<StreamInfo> {
  const look = () => jsm.streams.info(wanted.name);
  const isLog = wanted.name === eventsStream;
  if (isLog && (await isBeingRemade(jsm, wanted.name)))
    await remakeStream(nc, jsm, wanted.name, (last) => ({ ...wanted, description: describe(last) }));
  const begun = isLog ? { ...wanted, description: describe(0) } : wanted;
  // Another may make it at the same moment: then it is there by now.
  let info = await look().catch(() =>
    jsm.streams.add(begun).catch((error) => look().catch(() => Promise.reject(error))),
  );
  if (wanted.name === leasesStream && info.config.storage !== wanted.storage) {
    // Those of earlier versions lay in memory; whoever has one asks for it again.
    await jsm.streams.delete(wanted.name);
    info = await jsm.streams.add(begun);
  }
  const isOld = isLog && Number.isNaN(decisionsSince(info.config.description));
  const config = isOld ? { ...wanted, description: describe(info.state.last_seq) } : wanted;
  if (isSame(config, info.config)) return info;
  try {
    return await jsm.streams.update(wanted.name, { ...info.config, allow_rollup_hdrs: false, ...config });
  } catch (error) {
    if (!isLog || !isChangeRefused(error)) throw error;
    await remakeStream(nc, jsm, wanted.name, (last) => ({ ...wanted, description: describe(last) }));
    return look();
  }
}

const isSame = (wanted: object, found: object): boolean =>
  !(found as StreamConfig).allow_rollup_hdrs &&
  Object.entries(wanted).every(([field, value]) => sameField(value, (found as Record<string, unknown>)[field]));

const sameField = (wanted: unknown, found: unknown): boolean =>
  typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted)
    ? Object.entries(wanted).every(([field, value]) => sameField(value, (found as Record<string, unknown>)?.[field]))
    : JSON.stringify(wanted) === JSON.stringify(found);

/** The runners' one consumer. The scheduler decides the order, and late: the queue is kept short. */
export const runnersConsumer = 'runners';

/** The durable consumer on the work queue; a task that is not renewed within `holdMs` goes to another runner. */
async function declareTaskConsumer(jsm: JetStreamManager, holdMs: number): Promise<void> {
  const isThere = await jsm.consumers.info(tasksStream, runnersConsumer).catch(() => undefined);
  // Earlier versions had one for each priority; a work queue has no two for the same messages.
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
    if (!sameField(value, echoed)) {
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
