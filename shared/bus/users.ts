import { runnerSlots } from '#shared/contracts/scheduling.ts';
import {
  artifactsBucket,
  entitySubject,
  eventsStream,
  healthSubject,
  leasesBucket,
  logStateStream,
  logStateSubject,
  logStateSubjects,
  metricsSubject,
  noteSubject,
  notesStream,
  positionsBucket,
  snapshotsBucket,
  tasksStream,
  tasksSubjects,
} from '#shared/contracts/subjects.ts';
import { streamOf } from './objects.ts';
import { runnersConsumer } from './streams.ts';

/** The services, each a user of NATS by its own name. */
export const serviceUsers = ['gateway', 'scheduler', 'agent-runner', 'llm-proxy', 'store'] as const;
export type ServiceUser = (typeof serviceUsers)[number];

/** Who may all: a person with the `nats` program, and what starts the services. */
export const adminUser = 'toka';
export const userNames = [adminUser, ...serviceUsers] as const;
export type UserName = (typeof userNames)[number];

/** Where a user's answers come in: nobody else may listen there. */
export const inboxPrefix = (user: string) => `_INBOX.${user}`;
const inbox = (user: UserName) => `${inboxPrefix(user)}.>`;

const artifacts = streamOf(artifactsBucket);
const snapshots = streamOf(snapshotsBucket);
const leases = `KV_${leasesBucket}`;
const positions = `KV_${positionsBucket}`;

const api = (...calls: string[]) => calls.map((call) => `$JS.API.${call}`);
const events = (...entities: Parameters<typeof entitySubject>[0][]) =>
  entities.map((entity) => entitySubject(entity, '*'));

/**
 * Answers come as JSON, never as the bytes that lie there. JetStream answers on any subject that it is told: bytes could be chosen so that
 * they are an event, and land where their author may not append. So nobody may ask by DIRECT.GET.
 */
const readLog = api(`STREAM.MSG.GET.${eventsStream}`);
const pullLog = api(`CONSUMER.MSG.NEXT.${eventsStream}.*`, `CONSUMER.DELETE.${eventsStream}.*`);
const followLog = [...api(`CONSUMER.CREATE.${eventsStream}`, `CONSUMER.CREATE.${eventsStream}.>`), ...pullLog];
const readArtifacts = api(`STREAM.MSG.GET.${artifacts}`);
const mayMake = (stream: string) => api(`STREAM.CREATE.${stream}`, `STREAM.UPDATE.${stream}`);

type Permissions = { publish: string[]; subscribe: string[] };

const own: Record<ServiceUser, Permissions> = {
  gateway: {
    publish: [
      ...events('agent', 'run', 'key', 'webhook'),
      ...readLog,
      ...followLog,
      ...readArtifacts,
      noteSubject('*'),
      ...api(`STREAM.MSG.GET.${notesStream}`),
      'toka.store.query.*',
      'toka.scheduler.query.*',
      'toka.control.run.*',
      // Which of them delivers to webhooks, and how far it has come.
      `$KV.${leasesBucket}.webhooks`,
      ...mayMake(positions),
      `$KV.${positionsBucket}.*`,
      ...api(`STREAM.MSG.GET.${leases}`, `STREAM.MSG.GET.${positions}`),
      metricsSubject,
      healthSubject,
    ],
    subscribe: [],
  },
  scheduler: {
    publish: [
      ...events('agent', 'run'),
      ...readLog,
      ...followLog,
      tasksSubjects,
      'toka.control.run.*',
      ...[snapshots, leases].flatMap(mayMake),
      `$KV.${leasesBucket}.scheduler`,
      `$O.${snapshotsBucket}.>`,
      ...api(`STREAM.MSG.GET.${leases}`, `STREAM.MSG.GET.${snapshots}`, `STREAM.PURGE.${snapshots}`),
      inbox(adminUser),
    ],
    subscribe: [runnerSlots.subject, 'toka.scheduler.query.*'],
  },
  'agent-runner': {
    publish: [
      ...events('run', 'memory'),
      ...readLog,
      ...readArtifacts,
      `$O.${artifactsBucket}.>`,
      ...api(`CONSUMER.MSG.NEXT.${tasksStream}.${runnersConsumer}`),
      `$JS.ACK.${tasksStream}.>`,
      'toka.llm.chat',
      'toka.store.query.memory',
      runnerSlots.subject,
    ],
    subscribe: ['toka.control.run.*', runnerSlots.subject],
  },
  'llm-proxy': {
    publish: [
      ...events('llm'),
      ...readLog,
      // Of the log it follows the client keys alone.
      ...api(`CONSUMER.CREATE.${eventsStream}.*.${entitySubject('key', '*')}`),
      ...pullLog,
      inbox('agent-runner'),
      inbox(adminUser),
    ],
    subscribe: ['toka.llm.chat'],
  },
  store: {
    publish: [
      ...readLog,
      ...followLog,
      ...[eventsStream, logStateStream, tasksStream, artifacts, notesStream].flatMap(mayMake),
      ...[eventsStream, tasksStream].flatMap((stream) =>
        api(`CONSUMER.CREATE.${stream}.>`, `CONSUMER.DURABLE.CREATE.${stream}.*`, `CONSUMER.INFO.${stream}.*`),
      ),
      ...api(`CONSUMER.DELETE.${tasksStream}.*`), // of earlier versions
      ...api('STREAM.LIST', 'CONSUMER.LIST.*'),
      `$JS.ACK.${eventsStream}.>`,
      // Whether the log may be written on: it alone says so.
      logStateSubjects,
      inbox('agent-runner'),
      inbox(adminUser),
    ],
    subscribe: ['toka.store.query.*'],
  },
};

/** What a service may: the least that it needs. Reading the log is everyone's; who writes what, is what is kept apart. */
export function permissionsOf(service: ServiceUser): Permissions {
  const { publish, subscribe } = own[service];
  return {
    publish: [
      entitySubject('system', service),
      ...api('INFO', 'STREAM.INFO.*', `STREAM.MSG.GET.${logStateStream}`),
      inbox('gateway'), // which asks everyone how they are
      ...publish,
    ],
    subscribe: [inbox(service), metricsSubject, healthSubject, logStateSubject, ...subscribe],
  };
}

export type Passwords = Readonly<Record<UserName, string>>;

/** The part of nats-server's configuration that says who may what. */
export function authorization(passwords: Passwords): string {
  const users = [
    { user: adminUser, password: passwords[adminUser] },
    ...serviceUsers.map((user) => ({ user, password: passwords[user], permissions: permissionsOf(user) })),
  ];
  // A string of JSON is one of this configuration, too.
  const lines = users.map((user) => `    ${JSON.stringify(user)}`);
  return `authorization {\n  timeout: 5\n  users: [\n${lines.join('\n')}\n  ]\n}\n`;
}
