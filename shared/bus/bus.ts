import type { NatsConnection } from 'nats';
import { connect } from 'nats';
import type { z } from 'zod';
import type { Request, Topic } from '#shared/contracts/contract.ts';
import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { controlSubject, eventsStream } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Artifacts } from './artifacts.ts';
import { openArtifacts } from './artifacts.ts';
import type { Gate } from './gate.ts';
import { createGate } from './gate.ts';
import { takeAnswersUnder } from './inbox.ts';
import { jsonOf } from './json.ts';
import type { Lease } from './lease.ts';
import { openLease } from './lease.ts';
import type { FollowOptions, RawEvent } from './log.ts';
import { append, firstSeq, follow, lastSeq, read, readAt } from './log.ts';
import type { LogLook } from './log-messages.ts';
import { createLook } from './log-messages.ts';
import type { Notes } from './notes.ts';
import { openNotes } from './notes.ts';
import type { Positions } from './positions.ts';
import { openPositions } from './positions.ts';
import type { Delivery } from './pull.ts';
import { pull } from './pull.ts';
import type { AskOptions, Handle } from './requests.ts';
import { answer, ask, askEach } from './requests.ts';
import type { Restorer } from './restore.ts';
import { createRestorer } from './restore.ts';
import type { Snapshots } from './snapshots.ts';
import { openSnapshots } from './snapshots.ts';
import type { JetStreamState } from './state.ts';
import { readState } from './state.ts';
import type { StreamGroup } from './streams.ts';
import {
  declareArchiveConsumer,
  declareStreams,
  jetStreamReady,
  resetArchiveConsumer,
  streamGroups,
  streamsDeclared,
} from './streams.ts';
import type { Tasks } from './tasks.ts';
import { openTasks } from './tasks.ts';
import { inboxPrefix } from './users.ts';

export type BusOptions = {
  url: string;
  user?: string | undefined;
  password?: string | undefined;
  /** Name of the service: its queue group and its connection's name. */
  name: string;
  /** How long a runner may hold a task without a sign of life. */
  leaseMs: number;
  /** Copies that JetStream keeps of each stream. */
  replicas: number;
  /** Which streams it makes where they are missing; who makes none waits for them. All unless it is given. */
  declares?: readonly StreamGroup[];
};

/** What services meet on. Everything that knows NATS is behind it. */
export type Bus = LogLook & {
  /** Appends to the log: see `append` in log.ts. */
  append(event: TokaEvent, expected?: number, deadlineMs?: number): Promise<number>;
  /** The entity's events in order: see `read` in log.ts. */
  read(entity: Entity, id: string, from?: number, until?: number): Promise<Recorded[]>;
  readAt(sequences: readonly number[]): Promise<Recorded[]>;
  /** Of the log's last event, or of the last on `subject`, which may have wildcards; 0 for none. */
  lastSeq(subject?: string): Promise<number>;
  /** Of the oldest event that the stream still keeps. */
  firstSeq(): Promise<number>;
  /** Whether events may be appended. */
  gate: Gate;
  follow(options: FollowOptions): AsyncGenerator<RawEvent>;
  /** One pull from the durable archive consumer `name`, which is made to start at `from`. */
  declareArchive(name: string, from: number): Promise<void>;
  resetArchive(name: string, from: number): Promise<void>;
  pullArchive(name: string, batch: number, signal: AbortSignal, onEvent: (delivery: Delivery) => void): Promise<void>;
  ask<I extends z.ZodType, O extends z.ZodType>(
    contract: Request<I, O>,
    input: z.input<I>,
    options?: AskOptions,
  ): Promise<z.output<O>>;
  answer<I extends z.ZodType, O extends z.ZodType>(contract: Request<I, O>, handle: Handle<I, O>): void;
  /** Asks every instance of every service. */
  askEach(subject: string, waitMs: number): Promise<unknown[]>;
  /** Answers what every instance answers. */
  answerEach(subject: string, handle: () => Promise<unknown>): void;
  /** Tells whoever listens. */
  tell<T extends z.ZodType>(topic: Topic<T>, value: z.input<T>): void;
  /** Hears what is told on a topic; what does not fit its schema is passed over. */
  hear<T extends z.ZodType>(topic: Topic<T>, handle: (value: z.output<T>) => void): void;
  /** Tries to lead among all who hold out for the same name: see lease.ts. */
  lead(name: string, holder: string, changed: () => void): Lease;
  /** Tells a runner that something was decided about a run. */
  nudge(runId: string): void;
  onNudge(runId: string, handle: () => void): { unsubscribe(): void };
  tasks: Tasks;
  artifacts: Artifacts;
  snapshots: Snapshots;
  notes: Notes;
  positions: Positions;
  connected(): boolean;
  /** How JetStream is: for metrics. */
  state(): Promise<JetStreamState>;
  /** Refuses new questions, finishes those at hand. */
  drain(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Connects, waits for JetStream, declares streams and consumers, or waits for them. `problem` hears of bugs in answers and of what the user may not. */
export async function openBus(options: BusOptions, problem: (error: unknown) => void): Promise<Bus> {
  const nc = await open(options);
  let up = true;
  const manager = () => nc.jetstreamManager({ timeout: 5_000 });
  const declare = async () =>
    declareStreams(await jetStreamReady(manager, 30_000), options.declares ?? streamGroups, options);
  void (async () => {
    for await (const { type, permissionContext: refused } of nc.status()) {
      if (type === 'disconnect' || type === 'reconnect') up = type === 'reconnect';
      // Leases lie in memory: a server that was started again has none.
      if (type === 'reconnect') void declare().catch(problem);
      if (refused)
        problem(new Error(`NATS does not let ${options.user ?? 'us'} ${refused.operation} ${refused.subject}`));
    }
    up = false;
  })();
  const jsm = await jetStreamReady(manager, 30_000);
  await declare();
  await streamsDeclared(jsm, 30_000);
  const gate = createGate(nc);
  const answering: { drain(): Promise<void> }[] = [];
  const drain = async () => {
    await Promise.all(answering.splice(0).map((each) => each.drain()));
  };
  const unsubscriber = (sub: { unsubscribe(): void }) => ({
    unsubscribe: () => (nc.isClosed() ? undefined : sub.unsubscribe()),
  });
  return {
    append: (event, expected, deadlineMs = 60_000) => append(nc, gate, event, expected, deadlineMs),
    read: (entity, id, from, until) => read(nc, entity, id, from, until),
    readAt: (sequences) => readAt(nc, sequences),
    lastSeq: (subject) => lastSeq(jsm, subject),
    firstSeq: () => firstSeq(jsm),
    ...createLook(nc, jsm),
    gate,
    follow: (followOptions) => follow(nc, jsm, followOptions),
    declareArchive: (name, from) => declareArchiveConsumer(jsm, name, from),
    resetArchive: (name, from) => resetArchiveConsumer(jsm, name, from),
    async pullArchive(name, batch, signal, onEvent) {
      const end = await pull(nc, eventsStream, name, { batch, expiresMs: 5_000, signal }, onEvent);
      if (end === 'lost') await new Promise((resolve) => setTimeout(resolve, 100));
    },
    ask: (contract, input, askOptions) => ask(nc, contract, input, askOptions),
    answer: (contract, handle) => void answering.push(answer(nc, options.name, contract, handle, problem)),
    askEach: (subject, waitMs) => askEach(nc, subject, waitMs),
    answerEach(subject, handle) {
      nc.subscribe(subject, {
        callback: (_error, msg) => void handle().then((value) => msg.respond(JSON.stringify(value)), problem),
      });
    },
    tell: (topic, value) => nc.publish(topic.subject, JSON.stringify(value)),
    hear(topic, handle) {
      nc.subscribe(topic.subject, {
        callback: (_error, msg) => {
          const parsed = topic.schema.safeParse(jsonOf(msg.data));
          if (parsed.success) handle(parsed.data);
        },
      });
    },
    lead: (name, holder, changed) => openLease(nc.jetstream(), name, holder, changed),
    nudge: (runId) => nc.publish(controlSubject(runId)),
    onNudge: (runId, handle) => unsubscriber(nc.subscribe(controlSubject(runId), { callback: () => handle() })),
    tasks: openTasks(nc, jsm),
    artifacts: openArtifacts(nc.jetstream(), jsm),
    snapshots: openSnapshots(nc.jetstream(), jsm),
    notes: openNotes(nc, jsm),
    positions: openPositions(nc.jetstream()),
    connected: () => up,
    state: () => readState(jsm),
    drain,
    async [Symbol.asyncDispose]() {
      await drain();
      if (!nc.isClosed()) await nc.close();
    },
  };
}

/** Connects as who may all, to put events back into the log. */
export async function openRestorer(options: BusOptions): Promise<Restorer & AsyncDisposable> {
  const nc = await open(options);
  const jsm = await jetStreamReady(() => nc.jetstreamManager({ timeout: 5_000 }), 30_000);
  return { ...createRestorer(nc, jsm), [Symbol.asyncDispose]: () => nc.close() };
}

async function open({ url, user, password, name }: BusOptions): Promise<NatsConnection> {
  // Who connects without a name has all rights, or none: then nobody's inbox is kept from anyone.
  const answers = inboxPrefix(user ?? 'anyone');
  try {
    const nc = await connect({
      servers: url.split(','),
      // Otherwise the server decides; a URL that says tls:// takes no less. Its authority: NODE_EXTRA_CA_CERTS.
      ...(url.startsWith('tls://') ? { tls: {} } : {}),
      user,
      pass: password,
      name,
      maxReconnectAttempts: -1,
      waitOnFirstConnect: true,
      reconnectTimeWait: 200,
      reconnectJitter: 200,
      pingInterval: 5_000,
      maxPingOut: 2,
      noEcho: false,
      inboxPrefix: answers,
    });
    takeAnswersUnder(nc, answers);
    return nc;
  } catch (error) {
    throw new Failure('unavailable', `NATS at ${url} refused the connection: ${messageOf(error)}`, { cause: error });
  }
}
