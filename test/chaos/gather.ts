import Database from 'better-sqlite3';
import type { JetStreamManager, NatsConnection } from 'nats';
import { connect } from 'nats';
import { sweepTasks } from '#shared/bus/sweep-tasks.ts';
import { adminUser } from '#shared/bus/users.ts';
import { parseEvent } from '#shared/contracts/events.ts';
import { eventsStream, tasksStream, tasksSubjects } from '#shared/contracts/subjects.ts';
import { passwordOf } from '#test/helpers/servers.ts';
import type { Row } from './checks/archive.ts';
import type { Message } from './checks/evidence.ts';

/** The log as NATS has it, read with no code of Toka's. */
export type Reader = {
  /** All up to now; what is known already is not asked for again. */
  messages: readonly Message[];
  /** Reads on. Throws where NATS is away. */
  more(): Promise<void>;
  /** Reads everything anew. */
  anew(): Promise<Message[]>;
  tasks(): Promise<string[]>;
  /** As whoever looks after NATS does now and then: see `sweepTasks`. Never throws. */
  sweep(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const atOnce = 100;

export async function openReader(port: number): Promise<Reader> {
  const nc: NatsConnection = await connect({
    servers: `127.0.0.1:${port}`,
    ...{ user: adminUser, pass: passwordOf(adminUser), name: 'chaos' },
    ...{ maxReconnectAttempts: -1, reconnectTimeWait: 200, pingInterval: 2_000, maxPingOut: 2 },
  });
  const jsm: JetStreamManager = await nc.jetstreamManager({ timeout: 3_000 });
  const messages: Message[] = [];
  const read = async (from: number, into: Message[]) => {
    const { last_seq: last } = (await jsm.streams.info(eventsStream)).state;
    if (last < from - 1) throw new Error(`the log ends with ${last}, and had ${from - 1} events`);
    for (let seq = from; seq <= last; seq += atOnce) {
      const sequences = Array.from({ length: Math.min(atOnce, last - seq + 1) }, (_, index) => seq + index);
      into.push(...(await Promise.all(sequences.map((each) => messageAt(jsm, each)))));
    }
  };
  return {
    messages,
    more: () => read((messages.at(-1)?.seq ?? 0) + 1, messages),
    async anew() {
      const all: Message[] = [];
      await read(1, all);
      return all;
    },
    async tasks() {
      const { state } = await jsm.streams.info(tasksStream, { subjects_filter: tasksSubjects });
      return Object.keys(state.subjects ?? {}).map((subject) => subject.split('.').at(-1) ?? subject);
    },
    async sweep() {
      await sweepTasks(jsm).catch(() => undefined);
    },
    [Symbol.asyncDispose]: () => nc.close(),
  };
}

async function messageAt(jsm: JetStreamManager, seq: number): Promise<Message> {
  const { data, time } = await jsm.streams.getMessage(eventsStream, { seq });
  try {
    const event = { ...parseEvent(JSON.parse(new TextDecoder().decode(data))), seq };
    return { seq, timeMs: time.getTime(), bytes: data, event };
  } catch {
    return { seq, timeMs: time.getTime(), bytes: data, event: undefined };
  }
}

/** What a store has written so far. Throws where SQLite does not let others read at this moment. */
export function readArchive(file: string, from = 1): Row[] {
  const db = new Database(file, { readonly: true });
  try {
    return db.prepare('SELECT seq, bytes, hash FROM events WHERE seq >= ? ORDER BY seq').all(from) as Row[];
  } finally {
    db.close();
  }
}
