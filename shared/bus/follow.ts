import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import { NatsError } from 'nats';
import { eventsStream, eventsSubjects } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { readArchived } from './archived.ts';
import type { Ends } from './ends.ts';
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
  /** Called once everything that lay in the log has been given. */
  caughtUp?: (() => void) | undefined;
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
 * Every message from sequence `from` on, in order, without gap or double, for as long as `signal` is not aborted: what has left the stream comes
 * from the archive, what lies in it is asked for, and what is new is told of by the stream itself (see tail.ts). It needs no consumer, which
 * whoever makes one may direct anywhere. A slow reader slows the asking, and what it missed meanwhile is asked for.
 */
export async function* follow(
  nc: NatsConnection,
  ends: Ends,
  { from, subjects = everything, batch = usualBatch, caughtUp, signal }: FollowOptions,
): AsyncGenerator<FollowedEvent> {
  const tail = openTail(nc, subjects, batch, signal);
  let next = Math.max(from, 1);
  try {
    while (!signal.aborted && !nc.isClosed()) {
      try {
        for await (const message of stored(nc, ends, { from: next, subjects, batch, signal })) {
          next = message.seq + 1;
          yield message;
        }
        if (signal.aborted) return;
        caughtUp?.();
        caughtUp = undefined;
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

/** What lies in the log from `from` on, to its end as it is when that is reached. */
async function* stored(
  nc: NatsConnection,
  ends: Ends,
  { from, subjects, batch, signal }: Asking,
): AsyncGenerator<FollowedEvent> {
  const { first, last } = await ends.now();
  // What is rare among the others, such as keys, the server finds faster than all are read.
  const isDense = subjects.some(isDenseSubject);
  const ahead = Math.min(batch, aheadMax);
  const wanted = subjects === everything ? undefined : subjects;
  for (let [next, begin] = [from, first]; next <= last && !signal.aborted; ) {
    if (next < begin) {
      const left = { from: next, until: begin - 1, subjects: wanted, holds: begin - 1 };
      for await (const message of readArchived(nc, left, { signal })) {
        if (signal.aborted) return;
        next = message.seq + 1;
        yield { ...message, pending: Math.max(0, last - message.seq) };
      }
      next = begin;
      continue;
    }
    const some = await (isDense
      ? bySequence(nc, next, Math.min(last, next + ahead - 1))
      : bySubject(nc, subjects, { from: next, until: last, ahead }));
    begin = (await ends.now()).first;
    // Some of these have left the stream meanwhile, and were not found: the archive has them.
    if (next < begin) continue;
    for (const { seq, subject, bytes } of some.messages) {
      if (signal.aborted) return;
      next = seq + 1;
      if (subjects.some((filter) => matches(filter, subject)))
        yield { seq, subject, bytes, pending: Math.max(0, last - seq) };
    }
    next = some.end;
  }
}

/** Most of the log is of runs and model calls. */
const isDenseSubject = (subject: string): boolean => /^toka\.events\.(>|\*\.\*|run\.\*|llm\.\*)$/.test(subject);

/** Some messages, and where the next ones begin. */
type Some = { messages: Stored[]; end: number };

/** The next ones on any of the subjects, some of each. */
async function bySubject(
  nc: NatsConnection,
  subjects: readonly string[],
  { from, until, ahead }: { from: number; until: number; ahead: number },
): Promise<Some> {
  const each = Math.max(1, Math.floor(ahead / subjects.length));
  const found = await Promise.all(
    subjects.map(async (subject) => {
      const messages: Stored[] = [];
      for (let seq = from; messages.length < each; ) {
        const next = await getStored(nc, eventsStream, { seq, next_by_subj: subject });
        if (!next || next.seq > until) return { messages, end: until + 1 };
        messages.push(next);
        seq = next.seq + 1;
      }
      return { messages, end: (messages.at(-1)?.seq ?? until) + 1 };
    }),
  );
  // Of the others there may be more before the end of the one that came least far.
  const end = Math.min(...found.map((one) => one.end));
  const known = new Map(found.flatMap((one) => one.messages).map((message) => [message.seq, message]));
  return { messages: [...known.values()].filter(({ seq }) => seq < end).toSorted((a, b) => a.seq - b.seq), end };
}

/** These sequences, all asked for at once. Where many are missing, the next that there is is looked for. */
async function bySequence(nc: NatsConnection, from: number, to: number): Promise<Some> {
  const sequences = Array.from({ length: to - from + 1 }, (_, index) => from + index);
  const found = await Promise.all(sequences.map((seq) => getStored(nc, eventsStream, { seq })));
  const messages = found.filter((message) => message !== undefined);
  if (found.at(-1)) return { messages, end: to + 1 };
  const later = await getStored(nc, eventsStream, { seq: to, next_by_subj: eventsSubjects });
  return { messages, end: later ? later.seq : to + 1 };
}
