import { runnerSlots } from '#shared/contracts/scheduling.ts';
import { readLog } from '#shared/contracts/store.ts';
import {
  archiveKey,
  artifactsBucket,
  entitySubject,
  eventsStream,
  healthSubject,
  keySubject,
  keyValueStream,
  leasesBucket,
  logBucket,
  logStateSubject,
  logSubjectOf,
  logSubjects,
  metricsSubject,
  notesBucket,
  objectStream,
  positionsBucket,
  snapshotSubject,
  snapshotsStream,
  tasksStream,
  tasksSubjects,
} from '#shared/contracts/subjects.ts';
import { runnersConsumer } from './streams.ts';

/** The services, each a user of NATS by its own name. */
export const serviceUsers = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'] as const;
export type ServiceUser = (typeof serviceUsers)[number];

/** Who may all: a person with the `nats` program, and what makes the streams. */
export const adminUser = 'toka';
export const userNames = [adminUser, ...serviceUsers] as const;
export type UserName = (typeof userNames)[number];

/** Where a user's answers come in: nobody else may listen there. */
export const inboxPrefix = (user: string) => `_INBOX.${user}`;
const inbox = (user: ServiceUser) => `${inboxPrefix(user)}.>`;

const api = (...calls: string[]) => calls.map((call) => `$JS.API.${call}`);
/** Looks at messages of a stream. Answers come as JSON, never as the bytes that lie there, which could be chosen so that they are an event. */
const readsOf = (...streams: string[]) => streams.flatMap((stream) => api(`STREAM.MSG.GET.${stream}`));
const events = (...entities: Parameters<typeof entitySubject>[0][]) =>
  entities.map((entity) => entitySubject(entity, '*'));
const bucketReads = (...buckets: string[]) => readsOf(...buckets.map(keyValueStream));
const takeTask = api(`CONSUMER.MSG.NEXT.${tasksStream}.${runnersConsumer}`);
const ackTask = `$JS.ACK.${tasksStream}.>`;

type Permissions = { publish: string[]; subscribe: string[] };

const own: Record<ServiceUser, Permissions> = {
  gateway: {
    publish: [
      // `decision`: what people say of runs is written by nobody else, and is all that it says of them.
      ...events('agent', 'decision', 'memory', 'key', 'webhook', 'token'),
      ...readsOf(objectStream(artifactsBucket)),
      keySubject(notesBucket, '*'),
      ...bucketReads(notesBucket, leasesBucket, positionsBucket),
      'toka.store.query.*',
      'toka.scheduler.query.*',
      'toka.control.run.*',
      // Which of them delivers to webhooks, and how far it has come.
      keySubject(leasesBucket, 'webhooks'),
      keySubject(positionsBucket, '*'),
      metricsSubject,
      healthSubject,
    ],
    subscribe: [logSubjects],
  },
  scheduler: {
    publish: [
      ...events('agent', 'run'),
      tasksSubjects,
      'toka.control.run.*',
      keySubject(leasesBucket, 'scheduler'),
      snapshotSubject('scheduler', '>'),
      ...bucketReads(leasesBucket),
      ...readsOf(snapshotsStream),
    ],
    subscribe: [logSubjects, runnerSlots.subject, 'toka.scheduler.query.*'],
  },
  'agent-runner': {
    publish: [
      ...events('run', 'memory'),
      ...readsOf(objectStream(artifactsBucket)),
      `$O.${artifactsBucket}.>`,
      ...takeTask,
      ackTask,
      'toka.llm.chat',
      'toka.store.query.memory',
      runnerSlots.subject,
    ],
    subscribe: ['toka.control.run.*', runnerSlots.subject],
  },
  'llm-proxy': {
    publish: [...events('llm'), 'toka.store.query.spending', inbox('agent-runner')],
    // Of the log it follows the client keys alone.
    subscribe: ['toka.llm.chat', logSubjectOf(entitySubject('key', '*'))],
  },
  store: {
    publish: [
      ...api('STREAM.LIST', 'CONSUMER.LIST.*'),
      // Whether the log may be written on: it alone says so.
      logStateSubject,
      // How far its archive has come.
      keySubject(logBucket, archiveKey('*')),
      ...(['scheduler', 'agent-runner', 'llm-proxy', 'store'] as const).map(inbox),
    ],
    subscribe: [logSubjects, 'toka.store.query.*', readLog.subject],
  },
};

/** What a service may: the least that it needs. Reading the log is everyone's; who writes what, is what is kept apart. */
export function permissionsOf(service: ServiceUser): Permissions {
  const { publish, subscribe } = own[service];
  return {
    publish: [
      entitySubject('system', service),
      ...readsOf(eventsStream),
      ...bucketReads(logBucket),
      // What has left the stream.
      readLog.subject,
      ...api('INFO', 'STREAM.INFO.*'),
      inbox('gateway'), // which asks everyone how they are
      answersAcross,
      ...publish,
    ],
    subscribe: [inbox(service), metricsSubject, healthSubject, logStateSubject, ...subscribe],
  };
}

/** Where answers to the other account go: names that the server makes for each question. */
const answersAcross = '_R_.>';

/**
 * The streams are in one account, and the services in another, which reaches of the first what is named here and nothing else. JetStream
 * answers on any subject that it is told, those of the log included: coming from another account, such an answer stays in the asker's,
 * where no stream is. Seen with nats-server 2.9.10 and 2.15.1.
 */
const reached = {
  services: [
    'toka.events.>',
    tasksSubjects,
    '$KV.>',
    '$O.>',
    'toka.snapshots.>',
    ackTask,
    ...api('INFO', 'STREAM.INFO.*', 'STREAM.LIST', 'CONSUMER.LIST.*', 'STREAM.MSG.GET.*'),
  ],
  // Many answers to one question.
  streamed: takeTask,
  streams: [logSubjects],
};

/** What an admin may ask of the services. */
const asked = ['toka.store.query.*', readLog.subject, 'toka.scheduler.query.*', 'toka.llm.chat'];

export type Passwords = Readonly<Record<UserName, string>>;

/** The part of nats-server's configuration that says who may what. */
export function authorization(passwords: Passwords): string {
  const admin = { user: adminUser, password: passwords[adminUser] };
  const users = serviceUsers.map((user) => ({ user, password: passwords[user], permissions: permissionsOf(user) }));
  const offered = (subjects: readonly string[], rest = {}) => subjects.map((service) => ({ service, ...rest }));
  const taken = (account: string, subjects: readonly string[]) =>
    subjects.map((subject) => ({ service: { account, subject } }));
  const accounts = {
    [logAccount]: {
      jetstream: 'enabled',
      users: [admin],
      exports: [
        ...offered(reached.services),
        ...offered(reached.streamed, { response_type: 'stream' }),
        ...reached.streams.map((stream) => ({ stream })),
      ],
      imports: taken(servicesAccount, asked),
    },
    [servicesAccount]: {
      users,
      exports: offered(asked, { response_type: 'stream' }),
      imports: [
        ...taken(logAccount, [...reached.services, ...reached.streamed]),
        ...reached.streams.map((subject) => ({ stream: { account: logAccount, subject } })),
      ],
    },
  };
  // JSON is a part of this configuration's language, but for the keys' quotes, which it takes, too.
  return `authorization: { timeout: 5 }\naccounts: ${JSON.stringify(accounts, null, 2)}\n`;
}

/** Earlier versions had their streams in the account that a server has by itself. */
export const logAccount = 'TOKA';
const servicesAccount = 'SERVICES';
