import type { JetStreamManager, NatsConnection } from 'nats';
import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { subjectOf } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject, eventsStream } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Gate } from './gate.ts';
import type { RawEvent, Reading } from './log-event.ts';
import { readLogEvent } from './log-event.ts';
import { publishUntil } from './publish.ts';
import type { Stored } from './stored.ts';
import { getStored } from './stored.ts';

const payloadBytesMax = 7_500_000;

/**
 * Appends an event and answers its sequence. `expected` is the sequence of the last message on its subject (0: none yet): if another
 * writer was first, it is refused with a `conflict`. While NATS is away it is tried again with the same id until `deadlineMs`.
 */
export async function append(
  nc: NatsConnection,
  gate: Gate,
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
  return publishUntil(
    nc,
    { stream: eventsStream, subject: subjectOf(event), payload, id: event.id, expected, pass: gate.pass },
    deadlineMs,
  );
}

/** What lies in the log of one entity. `last`, and of a run `lastDecision`: the sequences that the next appends expect, 0 for none. */
export type History = { events: Recorded[]; last: number; lastDecision: number };

/** Reads a message as an event; undefined where it is none that counts here. */
type Read = (raw: RawEvent) => Recorded | undefined;

/** Of which entity, and from and to which sequence. People's decisions about a run lie apart from its other events. */
type Part = {
  entity: Entity;
  id: string;
  from?: number | undefined;
  decisionsFrom?: number | undefined;
  until?: number | undefined;
};

/**
 * The events of one entity in order, straight from the stream: commands do not depend on the store. From sequence `from` to the first
 * at or after `until`, or to the last.
 */
export async function readHistory(
  nc: NatsConnection,
  readEvent: Read,
  { entity, id, from = 1, decisionsFrom = from, until = Number.POSITIVE_INFINITY }: Part,
): Promise<History> {
  const [own, decided] = await Promise.all([
    readSubject(nc, entitySubject(entity, id), from, until),
    entity === 'run' ? readSubject(nc, entitySubject('decision', id), decisionsFrom, until) : [],
  ]);
  const messages = [...own, ...decided].toSorted((a, b) => a.seq - b.seq);
  const events = messages.flatMap((message) => readEvent(message) ?? []);
  return { events, last: own.at(-1)?.seq ?? 0, lastDecision: decided.at(-1)?.seq ?? 0 };
}

async function readSubject(nc: NatsConnection, subject: string, from: number, until: number): Promise<Stored[]> {
  const found: Stored[] = [];
  for (let seq = from; ; ) {
    const next = await getStored(nc, eventsStream, { seq, next_by_subj: subject });
    if (!next) return found;
    found.push(next);
    if (next.seq >= until) return found;
    seq = next.seq + 1;
  }
}

/** The events at these sequences: far cheaper than `readHistory`, for the server need not look for them. */
export async function readAt(nc: NatsConnection, readEvent: Read, sequences: readonly number[]): Promise<Recorded[]> {
  const found = await Promise.all(sequences.map((seq) => getStored(nc, eventsStream, { seq })));
  return found.flatMap((message) => (message && readEvent(message)) ?? []);
}

/** The sequence of the log's last event, or of the last on a subject, which may have wildcards; 0 for none. */
export async function lastSeq(nc: NatsConnection, jsm: JetStreamManager, subject?: string): Promise<number> {
  if (subject === undefined) return (await jsm.streams.info(eventsStream)).state.last_seq;
  return (await getStored(nc, eventsStream, { last_by_subj: subject }))?.seq ?? 0;
}

/** The sequence of the oldest event that the stream still keeps; what came before is in the archive. */
export const firstSeq = async (jsm: JetStreamManager): Promise<number> =>
  (await jsm.streams.info(eventsStream)).state.first_seq;

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
