import type { JetStreamManager, NatsConnection } from 'nats';
import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { parseEvent, subjectOf } from '#shared/contracts/events.ts';
import { getHistory } from '#shared/contracts/store.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject, eventsStream } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Gate } from './gate.ts';
import type { RawEvent, Reading } from './log-event.ts';
import { readLogEvent } from './log-event.ts';
import { publishUntil } from './publish.ts';
import { ask } from './requests.ts';
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
 * at or after `until`, or to the last. Of a long history, and of what is older than the stream, the archive tells: the stream has to be asked
 * for each message by itself. Where the archive does not answer, the stream is asked all the same.
 */
export async function readHistory(
  nc: NatsConnection,
  readEvent: Read,
  { entity, id, from = 1, decisionsFrom = from, until = Number.POSITIVE_INFINITY }: Part,
): Promise<History> {
  const own = entitySubject(entity, id);
  const decided = entity === 'run' ? entitySubject('decision', id) : undefined;
  const [first, firstDecided] = await Promise.all([
    readSubject(nc, own, from, until, nearMax),
    decided === undefined ? [] : readSubject(nc, decided, decisionsFrom, until, nearMax),
  ]);
  const near = joined(readEvent, first, firstDecided);
  if (first.length < nearMax && firstDecided.length < nearMax) return near;
  const archived = await readArchive(nc, `${entity}/${id}`, Math.min(from, decisionsFrom), until).catch(
    () => undefined,
  );
  const after = (seen: readonly Stored[]) => Math.max(archived?.seq ?? 0, seen.at(-1)?.seq ?? 0) + 1;
  const [rest, restDecided] = await Promise.all([
    readSubject(nc, own, after(first), until),
    decided === undefined ? [] : readSubject(nc, decided, after(firstDecided), until),
  ]);
  const late = joined(readEvent, rest, restDecided);
  const known = new Map(
    [...near.events, ...(archived?.events ?? []), ...late.events].map((event) => [event.seq, event]),
  );
  const events = [...known.values()]
    .filter((event) => event.seq >= (event.decision ? decisionsFrom : from) && event.seq <= until)
    .toSorted((a, b) => a.seq - b.seq);
  const [last, lastDecision] = await Promise.all([own, decided].map((subject) => lastOn(nc, subject, until)));
  return { events, last: last ?? 0, lastDecision: lastDecision ?? 0 };
}

/** Messages that the stream is asked for before the archive is. */
const nearMax = 64;

function joined(readEvent: Read, own: readonly Stored[], decided: readonly Stored[]): History {
  const messages = [...own, ...decided].toSorted((a, b) => a.seq - b.seq);
  const events = messages.flatMap((message) => readEvent(message) ?? []);
  return { events, last: own.at(-1)?.seq ?? 0, lastDecision: decided.at(-1)?.seq ?? 0 };
}

/** Also of what does not count, which the archive does not tell of. */
async function lastOn(nc: NatsConnection, subject: string | undefined, until: number): Promise<number> {
  const found = subject === undefined ? undefined : await getStored(nc, eventsStream, { last_by_subj: subject });
  return found && found.seq <= until ? found.seq : 0;
}

/** What the archive has of a subject, up to the sequence that it has come to. */
async function readArchive(nc: NatsConnection, subject: string, from: number, until: number) {
  const events: Recorded[] = [];
  const bound = Number.isFinite(until) ? { until } : {};
  for (let next = from; ; ) {
    const page = await ask(nc, getHistory, { subject, from: next, ...bound }, { timeoutMs: archiveMsMax });
    for (const { seq, text } of page.events) {
      const event = parsedOf(text);
      if (event) events.push({ ...event, seq });
    }
    if (page.next === null) return { events, seq: page.seq };
    next = page.next;
  }
}

const archiveMsMax = 5_000;

/** Undefined for an event of a newer version. What does not count is in the archive under no subject. */
function parsedOf(text: string): TokaEvent | undefined {
  try {
    return parseEvent(JSON.parse(text));
  } catch {
    return undefined;
  }
}

async function readSubject(
  nc: NatsConnection,
  subject: string,
  from: number,
  until: number,
  max = Number.POSITIVE_INFINITY,
): Promise<Stored[]> {
  const found: Stored[] = [];
  for (let seq = from; found.length < max; ) {
    const next = await getStored(nc, eventsStream, { seq, next_by_subj: subject });
    if (!next) return found;
    found.push(next);
    if (next.seq >= until) return found;
    seq = next.seq + 1;
  }
  return found;
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
