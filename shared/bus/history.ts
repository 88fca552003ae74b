import type { NatsConnection } from 'nats';
import type { EventType, Recorded } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject, eventsStream } from '#shared/contracts/subjects.ts';
import type { ArchivedPart } from './archived.ts';
import { readArchived } from './archived.ts';
import type { Ends } from './ends.ts';
import type { RawEvent } from './log-event.ts';
import type { Stored } from './stored.ts';
import { getStored } from './stored.ts';

/** What lies in the log of one entity. `last`, and of a run `lastDecision`: the sequences that the next appends expect, 0 for none. */
export type History = { events: Recorded[]; last: number; lastDecision: number };

/** Reads a message as an event; undefined where it is none that counts here. */
type Read = (raw: RawEvent) => Recorded | undefined;

/** What is read: the log's messages, where it begins, and what its messages are. */
export type Source = { nc: NatsConnection; ends: Ends; readEvent: Read };

/** Of which entity, and from and to which sequence. People's decisions about a run lie apart from its other events. */
type Part = {
  entity: Entity;
  id: string;
  from?: number | undefined;
  decisionsFrom?: number | undefined;
  until?: number | undefined;
};

/**
 * The events of one entity in order, straight from the stream: commands do not depend on the store. Of a long history, and of what is older
 * than the stream, the archive tells: the stream has to be asked for each message by itself. Throws `unavailable` where only the archive
 * has a part of it, and does not answer.
 */
export async function readHistory(
  { nc, ends, readEvent }: Source,
  { entity, id, from = 1, decisionsFrom = from, until = Number.POSITIVE_INFINITY }: Part,
): Promise<History> {
  const own = entitySubject(entity, id);
  const decided = entity === 'run' ? entitySubject('decision', id) : undefined;
  const [first, firstDecided] = await Promise.all([
    readSubject(nc, own, from, until, nearMax),
    decided === undefined ? [] : readSubject(nc, decided, decisionsFrom, until, nearMax),
  ]);
  const near = joined(readEvent, first, firstDecided, until);
  const oldest = Math.min(from, decisionsFrom);
  const isCut = oldest > 1 ? (await ends.firstLately()) > oldest : await isBeginningGone(near.events[0], ends);
  if (!isCut && first.length < nearMax && firstDecided.length < nearMax) return near;

  const subjects = decided === undefined ? [own] : [own, decided];
  const holds = isCut ? (await ends.now()).first - 1 : 0;
  const archived = await readArchive({ nc, readEvent }, { from: oldest, until, subjects, holds }).catch((error) => {
    if (isCut) throw error;
    return undefined;
  });
  const after = (seen: readonly Stored[]) => Math.max(archived?.seq ?? 0, seen.at(-1)?.seq ?? 0) + 1;
  const [rest, restDecided] = await Promise.all([
    readSubject(nc, own, after(first), until),
    decided === undefined ? [] : readSubject(nc, decided, after(firstDecided), until),
  ]);
  const late = joined(readEvent, rest, restDecided, until);
  const known = new Map(
    [...near.events, ...(archived?.events ?? []), ...late.events].map((event) => [event.seq, event]),
  );
  const events = [...known.values()]
    .filter((event) => event.seq >= (event.decision ? decisionsFrom : from))
    .toSorted((a, b) => a.seq - b.seq);
  const [last, lastDecision] = await Promise.all([own, decided].map((subject) => lastOn(nc, subject, until)));
  return { events, last: last ?? 0, lastDecision: lastDecision ?? 0 };
}

/** Messages that the stream is asked for before the archive is. */
const nearMax = 64;

/** The entities whose events are one whole ends with one of these. */
const beginnings: ReadonlySet<EventType> = new Set<EventType>([
  'toka.agent.registered.v1',
  'toka.run.queued.v1',
  'toka.key.minted.v1',
  'toka.webhook.created.v1',
  'toka.token.revoked.v1',
]);

/** Nothing younger than an hour leaves the log: see shared/keeper/trim-log.ts. */
const youngMs = 1_800_000;

/** Whether something of the entity had left the log when `first` was found, or has left it while the rest was read. */
async function isBeginningGone(first: Recorded | undefined, ends: Ends): Promise<boolean> {
  if (!first || !beginnings.has(first.type)) return (await ends.now()).first > 1;
  if (Date.now() - Date.parse(first.time) < youngMs) return false;
  return (await ends.now()).first > first.seq;
}

function joined(readEvent: Read, own: readonly Stored[], decided: readonly Stored[], until: number): History {
  const messages = [...own, ...decided].filter(({ seq }) => seq <= until).toSorted((a, b) => a.seq - b.seq);
  const events = messages.flatMap((message) => readEvent(message) ?? []);
  return { events, last: own.at(-1)?.seq ?? 0, lastDecision: decided.at(-1)?.seq ?? 0 };
}

/** Also of what does not count. */
async function lastOn(nc: NatsConnection, subject: string | undefined, until: number): Promise<number> {
  const found = subject === undefined ? undefined : await getStored(nc, eventsStream, { last_by_subj: subject });
  return found && found.seq <= until ? found.seq : 0;
}

/** What the archive has, and the sequence that it has come to. */
async function readArchive(
  { nc, readEvent }: Pick<Source, 'nc' | 'readEvent'>,
  { until = Number.POSITIVE_INFINITY, ...part }: ArchivedPart,
) {
  const events: Recorded[] = [];
  const messages = readArchived(nc, { ...part, until: Number.isFinite(until) ? until : undefined });
  for (;;) {
    const next = await messages.next();
    if (next.done) return { events, seq: next.value };
    const event = readEvent(next.value);
    if (event) events.push(event);
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

/** The first event of an entity, which says whose it is; undefined where there is none. */
export async function readFirst(
  { nc, ends, readEvent }: Source,
  entity: Entity,
  id: string,
): Promise<Recorded | undefined> {
  const subjects =
    entity === 'run' ? [entitySubject('run', id), entitySubject('decision', id)] : [entitySubject(entity, id)];
  const found = await Promise.all(subjects.map((subject) => firstOn(nc, readEvent, subject)));
  // Whoever may write on one of the subjects can have written there before.
  const isBeginning = ({ type }: Recorded) => beginnings.has(type);
  const [first] = found
    .filter((event) => event && isBeginning(event))
    .toSorted((a, b) => (a?.seq ?? 0) - (b?.seq ?? 0));
  if (first) return first;
  const begin = (await ends.now()).first;
  if (begin > 1)
    for await (const raw of readArchived(nc, { from: 1, subjects, holds: begin - 1 })) {
      const event = readEvent(raw);
      if (event && (isBeginning(event) || !hasBeginning.has(entity))) return event;
    }
  return found.find((event) => event !== undefined);
}

const hasBeginning: ReadonlySet<Entity> = new Set<Entity>(['agent', 'run', 'key', 'webhook', 'token']);

async function firstOn(nc: NatsConnection, readEvent: Read, subject: string): Promise<Recorded | undefined> {
  for (let seq = 1; ; ) {
    const next = await getStored(nc, eventsStream, { seq, next_by_subj: subject });
    const event = next && readEvent(next);
    if (!next || event) return event;
    seq = next.seq + 1;
  }
}

/** The events at these sequences: far cheaper than `readHistory`, for the server need not look for them. */
export async function readAt({ nc, ends, readEvent }: Source, sequences: readonly number[]): Promise<Recorded[]> {
  const found = await Promise.all(sequences.map((seq) => getStored(nc, eventsStream, { seq })));
  const messages: (RawEvent | undefined)[] = [...found];
  for (const [index, seq] of sequences.entries())
    if (!messages[index] && seq < (await ends.firstLately()))
      for await (const raw of readArchived(nc, { from: seq, until: seq, holds: seq })) messages[index] = raw;
  return messages.flatMap((message) => (message && readEvent(message)) ?? []);
}
