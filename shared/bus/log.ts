import type { NatsConnection } from 'nats';
import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { subjectOf } from '#shared/contracts/events.ts';
import { eventsStream } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { readArchived } from './archived.ts';
import type { Ends } from './ends.ts';
import { isYoung } from './ends.ts';
import type { Gate } from './gate.ts';
import type { RawEvent, Reading } from './log-event.ts';
import { readLogEvent } from './log-event.ts';
import { publishUntil } from './publish.ts';
import { getStored } from './stored.ts';

const payloadBytesMax = 7_500_000;

/**
 * Appends an event and answers its sequence. `expected` is the sequence of the last message on its subject, in the stream or before (0: none
 * yet): if another writer was first, it is refused with a `conflict`. While NATS is away it is tried again with the same id until `deadlineMs`.
 */
export async function append(
  { nc, gate, ends }: Place & { gate: Gate },
  event: TokaEvent,
  expected: number | undefined,
  deadlineMs: number,
): Promise<number> {
  const payload = JSON.stringify(event);
  if (Buffer.byteLength(payload) > payloadBytesMax) {
    throw new Failure(
      'too-large',
      `an event of type ${event.type} has ${Buffer.byteLength(payload)} bytes, more than ${payloadBytesMax}`,
    );
  }
  const subject = subjectOf(event);
  const publish = (last: number | undefined) =>
    publishUntil(
      nc,
      { stream: eventsStream, subject, payload, id: event.id, expected: last, pass: gate.pass },
      deadlineMs,
    );
  if (expected === 0 && !isYoung(subject.split('.').at(-1) ?? '')) {
    await gate.pass(performance.now() + deadlineMs);
    if (await hasBegun({ nc, ends }, subject)) throw new Failure('conflict', `another writer was first on ${subject}`);
  }
  try {
    return await publish(expected);
  } catch (error) {
    const isConflict = error instanceof Failure && error.code === 'conflict';
    if (isConflict && expected && (await hasLeft({ nc, ends }, subject, expected))) return publish(0);
    throw error;
  }
}

type Place = { nc: NatsConnection; ends: Ends };

/** Whether something was on the subject that only the archive has: the stream knows of none. */
async function hasBegun({ nc, ends }: Place, subject: string): Promise<boolean> {
  const { first } = await ends.now();
  if (first === 1) return false;
  for await (const _ of readArchived(nc, { from: 1, until: first - 1, subjects: [subject], holds: first - 1 }))
    return true;
  return false;
}

/**
 * Whether the last message on the subject is the one at `seq`, and only the archive has it: to the stream there is then none on the subject, and
 * it expects 0 (seen with nats-server 2.9.10 and 2.15.1). An answer that was lost before is found by its own sequence: see publish.ts.
 */
async function hasLeft({ nc, ends }: Place, subject: string, seq: number): Promise<boolean> {
  const { first } = await ends.now();
  if (seq >= first || (await getStored(nc, eventsStream, { last_by_subj: subject }))) return false;
  const found: number[] = [];
  const left = { from: seq, until: first - 1, subjects: [subject], holds: first - 1 };
  for await (const message of readArchived(nc, left)) if (found.push(message.seq) > 1) break;
  return found.length === 1 && found[0] === seq;
}

/** What lies in the log and does not count; `newer`: a newer version of Toka wrote it. */
export type Oddity = { seq: number; subject: string; newer: boolean; reason: string };

/** Each message is read once, whoever asks: those who follow share its bytes. `decisionsSince`: see log-event.ts. */
export function createReader(decisionsSince: number, passedOver: (oddity: Oddity) => void): (raw: RawEvent) => Reading {
  const known = new WeakMap<Uint8Array, Reading>();
  return (raw) => {
    const before = known.get(raw.bytes);
    if (before) return before;
    const reading = readLogEvent(raw, decisionsSince);
    known.set(raw.bytes, reading);
    if (!('event' in reading)) passedOver(oddityOf(raw, reading));
    return reading;
  };
}

const oddityOf = ({ seq, subject }: RawEvent, reading: Exclude<Reading, { event: Recorded }>): Oddity =>
  'newer' in reading
    ? { seq, subject, newer: true, reason: `events of type ${reading.newer} are of a newer version` }
    : { seq, subject, newer: false, reason: reading.odd };
