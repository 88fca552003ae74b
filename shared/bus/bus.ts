import type { NatsConnection } from 'nats';
import { connect } from 'nats';
import type { z } from 'zod';
import type { Request, Topic } from '#shared/contracts/contract.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { artifactsBucket, controlSubject, leasesBucket, notesBucket } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Archives } from './archives.ts';
import { openArchives } from './archives.ts';
import type { Artifacts } from './artifacts.ts';
import { openArtifacts } from './artifacts.ts';
import { createEnds } from './ends.ts';
import type { Gate } from './gate.ts';
import { createGate } from './gate.ts';
import { takeAnswersUnder } from './inbox.ts';
import { jsonOf } from './json.ts';
import type { Lease } from './lease.ts';
import { openLease } from './lease.ts';
import type { Oddity } from './log.ts';
import { createReader } from './log.ts';

import type { RawEvent, Reading } from './log-event.ts';
import type { LogLook } from './log-messages.ts';
import { createLook } from './log-messages.ts';
import type { ObjectKeeper } from './object-keeper.ts';
import { createObjectKeeper } from './object-keeper.ts';
import type { Log } from './open-log.ts';
import { openLog } from './open-log.ts';
import type { Positions } from './positions.ts';
import { openPositions } from './positions.ts';
import type { Registers } from './registers.ts';
import { openRegisters } from './registers.ts';
import type { AskOptions, Handle } from './requests.ts';
import { answer, ask, askEach } from './requests.ts';
import type { Restorer } from './restore.ts';
import { createRestorer } from './restore.ts';
import type { Snapshots } from './snapshots.ts';
import { openSnapshots } from './snapshots.ts';
import type { JetStreamState } from './state.ts';
import { readState } from './state.ts';
import { declareStreams, jetStreamReady, streamsDeclared } from './streams.ts';
import type { Tasks } from './tasks.ts';
import { openTasks } from './tasks.ts';
import type { Trimmable } from './trim.ts';
import { openTrimmable } from './trim.ts';
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
  /** Whether it makes the streams that are missing, as the admin's user alone may; who does not waits for them. It does unless told otherwise. */
  declares?: boolean;
};

/** What services meet on. Everything that knows NATS is behind it. */
export type Bus = Log &
  LogLook & {
    /** The last sequence of a log that is older than the rules of who may say what: see log-event.ts. */
    rulesSince: number;
    /** Whether events may be appended. */
    gate: Gate;
    archives: Archives;
    /** What a message of the log is. What does not count is told to `passedOver`. */
    readMessage(raw: RawEvent): Reading;
    /** The event that it is; undefined where it is none that counts. */
    readEvent(raw: RawEvent): Recorded | undefined;
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
    /** What has to be known for a day by every replica, and is no fact for the log. */
    notes: Registers;
    positions: Positions;
    connected(): boolean;
    /** How JetStream is: for metrics. */
    state(): Promise<JetStreamState>;
    /** Refuses new questions, finishes those at hand. */
    drain(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
  };

/**
 * Connects, waits for JetStream, makes the streams or waits for them. `problem` hears of bugs in answers and of what the user may not,
 * `passedOver` of what lies in the log and does not count, each time that it is read.
 */
export async function openBus(
  options: BusOptions,
  problem: (error: unknown) => void,
  passedOver: (oddity: Oddity) => void = () => undefined,
): Promise<Bus> {
  const nc = await open(options);
  let up = true;
  const manager = () => nc.jetstreamManager({ timeout: 5_000 });
  void (async () => {
    for await (const { type, permissionContext: refused } of nc.status()) {
      if (type === 'disconnect' || type === 'reconnect') up = type === 'reconnect';
      if (refused)
        problem(new Error(`NATS does not let ${options.user ?? 'us'} ${refused.operation} ${refused.subject}`));
    }
    up = false;
  })();
  const jsm = await jetStreamReady(manager, 30_000);
  if (options.declares ?? true) await declareStreams(nc, jsm, options);
  const rulesSince = await streamsDeclared(jsm, 30_000);
  const readMessage = createReader(rulesSince, passedOver);
  const readEvent = (raw: RawEvent) => {
    const reading = readMessage(raw);
    return 'event' in reading ? reading.event : undefined;
  };
  const gate = createGate(nc);
  const answering: { drain(): Promise<void> }[] = [];
  const drain = () => drained(answering.splice(0));
  const unsubscriber = (sub: { unsubscribe(): void }) => ({
    unsubscribe: () => (nc.isClosed() ? undefined : sub.unsubscribe()),
  });
  return {
    ...openLog({ nc, gate, ends: createEnds(nc), readEvent }),
    ...createLook(nc, jsm),
    rulesSince,
    gate,
    archives: openArchives(nc),
    readMessage,
    readEvent,
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
    lead: (name, holder, changed) => openLease(openRegisters(nc, leasesBucket), name, holder, changed),
    nudge: (runId) => nc.publish(controlSubject(runId)),
    onNudge: (runId, handle) => unsubscriber(nc.subscribe(controlSubject(runId), { callback: () => handle() })),
    tasks: openTasks(nc, jsm),
    artifacts: openArtifacts(nc),
    snapshots: openSnapshots(nc),
    notes: openRegisters(nc, notesBucket),
    positions: openPositions(nc),
    connected: () => up,
    state: () => readState(jsm),
    drain,
    async [Symbol.asyncDispose]() {
      await drain();
      if (!nc.isClosed()) await nc.close();
    },
  };
}

const drained = async (each: { drain(): Promise<void> }[]) => void (await Promise.all(each.map((one) => one.drain())));

/** Connects as who may all, to put events back into the log. */
export async function openRestorer(options: BusOptions): Promise<Restorer & AsyncDisposable> {
  const nc = await open(options);
  const jsm = await jetStreamReady(() => nc.jetstreamManager({ timeout: 5_000 }), 30_000);
  return { ...createRestorer(nc, jsm), [Symbol.asyncDispose]: () => nc.close() };
}

/** Connects as who may all, to take away what is old. */
export async function openTrimmer(options: BusOptions): Promise<Trimmable & AsyncDisposable> {
  const nc = await open(options);
  const jsm = await jetStreamReady(() => nc.jetstreamManager({ timeout: 5_000 }), 30_000);
  return { ...openTrimmable(nc, jsm), [Symbol.asyncDispose]: () => nc.close() };
}

/** Connects as who may all, to take away artifacts that nobody needs any more. */
export async function openArtifactKeeper(options: BusOptions): Promise<ObjectKeeper & AsyncDisposable> {
  const nc = await open(options);
  return { ...createObjectKeeper(nc, artifactsBucket), [Symbol.asyncDispose]: () => nc.close() };
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
