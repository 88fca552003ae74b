import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamManager, NatsConnection } from 'nats';
import { NatsError } from 'nats';
import { eventsStream, eventsSubjects } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { RawEvent } from './log-event.ts';
import { matches } from './matches.ts';
import type { Stored } from './stored.ts';
import { getStored } from './stored.ts';
import type { Tail } from './tail.ts';
import { openTail } from './tail.ts';

/** `batch`: how many events are at hand at a time at most. `subjects` may have wildcards; all where they are not given. */
export type FollowOptions = {
  from: number;
  subjects?: readonly string[] | undefined;
  batch?: number | undefined;
  signal: AbortSignal;
};

/** `pending`: how many more are known to lie behind it. */
export type FollowedEvent = RawEvent & { pending: number };

const usualBatch = 500;
const everything = [eventsSubjects];
/** Messages that are asked for at a time: 37,000 a second on loopback with 64, 5,000 with one. */
const aheadMax = 64;
const againMs = 200;

/**
 * Every message from sequence `from` on, in order, without gap or double, for as long as `signal` is not aborted: what lies in the stream is
 * asked for, and what is new is told of by the stream itself (see tail.ts). It needs no consumer, which whoever makes one may direct
 * anywhere. A slow reader slows the asking, and what it missed meanwhile is asked for.
 */
export async function* follow(
  nc: NatsConnection,
  jsm: JetStreamManager,
  { from, subjects = everything, batch = usualBatch, signal }: FollowOptions,
): AsyncGenerator<FollowedEvent> {
  const tail = openTail(nc, subjects, batch, signal);
  let next = Math.max(from, 1);
  try {
    while (!signal.aborted && !nc.isClosed()) {
      try {
        for await (const message of stored(nc, jsm, { from: next, subjects, batch, signal })) {
          next = message.seq + 1;
          yield message;
        }
        for await (const message of heard(tail, next, subjects === everything)) {
          next = message.seq + 1;
          yield message;
        }
      } catch (error) {
        if (nc.isClosed() || signal.aborted) return;
        if (!isPassing(error)) throw error;
        await delay(againMs, undefined, { signal }).catch(() => undefined);
      }
    }
  } finally {
    tail.close();
  }
}

/** NATS is away: whoever follows waits for it. */
const isPassing = (error: unknown): boolean => error instanceof Failure || error instanceof NatsError;

/** What the tail tells of, until it has missed something. `isWhole`: each sequence has to come, or something is missing. */
async function* heard(tail: Tail, from: number, isWhole: boolean): AsyncGenerator<FollowedEvent> {
  let next = from;
  for (;;) {
    const message = await tail.take();
    if (!message) return;
    if (message.seq < next) continue;
    if (isWhole ? message.seq > next : message.before >= next) return tail.putBack(message);
    next = message.seq + 1;
    yield { seq: message.seq, subject: message.subject, bytes: message.bytes, pending: tail.waiting() };
  }
}

type Asking = { from: number; subjects: readonly string[]; batch: number; signal: AbortSignal };

/** What lies in the stream from `from` on, to its end as it is when that is reached. */
async function* stored(
  nc: NatsConnection,
  jsm: JetStreamManager,
  { from, subjects, batch, signal }: Asking,
): AsyncGenerator<FollowedEvent> {
  const { first_seq: first, last_seq: last } = (await jsm.streams.info(eventsStream)).state;
  const start = Math.max(from, first);
  // What is rare among the others, such as keys, the server finds faster than all are read.
  const messages = subjects.some(isDense)
    ? bySequence(nc, start, last, Math.min(batch, aheadMax))
    : bySubject(nc, subjects, start);
  for await (const message of messages) {
    if (signal.aborted) return;
    const { seq, subject, bytes } = message;
    if (subjects.some((filter) => matches(filter, subject)))
      yield { seq, subject, bytes, pending: Math.max(0, last - seq) };
  }
}

/** Most of the log is of runs and model calls. */
const isDense = (subject: string): boolean => /^toka\.events\.(>|\*\.\*|run\.\*|llm\.\*)$/.test(subject);

/** The next on any of the subjects, in turn. */
async function* bySubject(nc: NatsConnection, subjects: readonly string[], from: number): AsyncGenerator<Stored> {
  const find = (subject: string, seq: number) => getStored(nc, eventsStream, { seq, next_by_subj: subject });
  const next = await Promise.all(subjects.map(async (subject) => ({ subject, found: await find(subject, from) })));
  for (;;) {
    const [first] = next.filter(({ found }) => found).toSorted((a, b) => (a.found?.seq ?? 0) - (b.found?.seq ?? 0));
    if (!first?.found) return;
    yield first.found;
    first.found = await find(first.subject, first.found.seq + 1);
  }
}

/** Each sequence in turn, several asked for ahead. Where many are missing, the next that there is is looked for. */
async function* bySequence(nc: NatsConnection, from: number, to: number, ahead: number): AsyncGenerator<Stored> {
  const asked: Promise<Stored | undefined>[] = [];
  let next = from;
  const fill = () => {
    while (asked.length < ahead && next <= to) {
      const asking = getStored(nc, eventsStream, { seq: next });
      asking.catch(() => undefined); // it is heard of where it is waited for
      asked.push(asking);
      next += 1;
    }
  };
  for (let seq = from; seq <= to; seq++) {
    fill();
    const found = await asked.shift();
    if (found) {
      yield found;
      continue;
    }
    const later = await getStored(nc, eventsStream, { seq, next_by_subj: eventsSubjects });
    if (!later || later.seq > to) return;
    await Promise.allSettled(asked.splice(0));
    next = later.seq;
    seq = later.seq - 1;
  }
}
