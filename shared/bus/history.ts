import type { NatsConnection } from 'nats';
import type { EventType, Recorded } from '#shared/contracts/events.ts';
import { subjectOf } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject, eventsStream } from '#shared/contracts/subjects.ts';
import type { Thing } from '#shared/domain/ownership.ts';
import type { ArchivedPart } from './archived.ts';
import { readArchived } from './archived.ts';
import type { Ends } from './ends.ts';
import { isYoung } from './ends.ts';
import type { RawEvent } from './log-event.ts';
import type { Stored } from './stored.ts';
import { getStored } from './stored.ts';

/** What lies in the log of one entity. `last`, and of a run `lastDecision`: the sequences of the last
 * messages on its subjects, in the stream or before: the next appends expect them. 0 for none. */
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
  const isCut = await (oldest > 1 ? ends.mayHaveLeft(oldest) : isBeginningGone({ entity, id }, near.events[0], ends));
  if (!isCut && first.length < nearMax && firstDecided.length < nearMax) return near;

  const subjects = decided === undefined ? [own] : [own, decided];
  const holds = isCut ? (await ends.now()).first - 1 : 0;
  const archived = await readArchive({ nc, readEvent }, { from: oldest, until, subjects, holds }).catch((error) => {
    if (isCut) throw error;
    return undefined;
  });
  /** What the stream has behind the archive's end, and the last sequence on the subject: no newer than what is read. */
  const readOn = async (subject: string, seen: readonly Stored[]) => {
    const before = await getStored(nc, eventsStream, { last_by_subj: subject });
    const rest = await readSubject(nc, subject, Math.max(archived?.seq ?? 0, seen.at(-1)?.seq ?? 0) + 1, until);
    const left = archived?.events.findLast((event) => subjectOf(event) === subject);
    return { rest, last: rest.at(-1)?.seq ?? before?.seq ?? left?.seq ?? 0 };
  };
  const late = await readOn(own, first);
  const lateDecided = decided === undefined ? { rest: [], last: 0 } : await readOn(decided, firstDecided);
  const { events: lateEvents } = joined(readEvent, late.rest, lateDecided.rest, until);
  const known = new Map(
    [...near.events, ...(archived?.events ?? []), ...lateEvents].map((event) => [event.seq, event]),
  );
  const events = [...known.values()]
    .filter((event) => event.seq >= (event.decision ? decisionsFrom : from))
    .toSorted((a, b) => a.seq - b.seq);
  return { events, last: late.last, lastDecision: lateDecided.last };
}

/** Messages that the stream is asked for before the archive is. */
const nearMax = 64;

/** The entities whose events are one whole begin with one of these. */
const beginnings: ReadonlySet<EventType> = new Set<EventType>([
  'toka.agent.registered.v1',
  'toka.run.queued.v1',
  'toka.key.minted.v1',
  'toka.webhook.created.v1',
  'toka.token.revoked.v1',
]);

/** Whether something of the entity had left the log when `first` was found, or has left it while the rest was read. */
async function isBeginningGone({ entity, id }: Thing, first: Recorded | undefined, ends: Ends): Promise<boolean> {
  if (isYoung(id)) return false;
  const begin = (await ends.now()).first;
  // What looks like a run's beginning may have been put there once the true one had left: a runner may write on its subject.
  if (!first || !beginnings.has(first.type) || entity === 'run') return begin > 1;
  return begin > first.seq;
}

function joined(readEvent: Read, own: readonly Stored[], decided: readonly Stored[], until: number): History {
  const messages = [...own, ...decided].filter(({ seq }) => seq <= until).toSorted((a, b) => a.seq - b.seq);
  const events = messages.flatMap((message) => readEvent(message) ?? []);
  return { events, last: own.at(-1)?.seq ?? 0, lastDecision: decided.at(-1)?.seq ?? 0 };
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

/** The event with which an entity begins, which says whose it is; undefined where there is none. */
export async function readFirst(
  { nc, ends, readEvent }: Source,
  entity: Entity,
  id: string,
): Promise<Recorded | undefined> {
  const subjects =
    entity === 'run' ? [entitySubject('run', id), entitySubject('decision', id)] : [entitySubject(entity, id)];
  const isBeginning = ({ type }: Recorded) => beginnings.has(type) || !hasBeginning.has(entity);
  const begin = isYoung(id) ? 1 : (await ends.now()).first;
  if (begin > 1)
    for await (const raw of readArchived(nc, { from: 1, until: begin - 1, subjects, holds: begin - 1 })) {
      const event = readEvent(raw);
      if (event && isBeginning(event)) return event;
    }
  const found = await Promise.all(subjects.map((subject) => firstOn(nc, readEvent, subject)));
  const known = found.filter((event) => event !== undefined).toSorted((a, b) => a.seq - b.seq);
  // Whoever may write on one of the subjects can have written there before.
  return known.find(isBeginning) ?? known[0];
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
    if (!messages[index] && seq < (await ends.now()).first)
      for await (const raw of readArchived(nc, { from: seq, until: seq, holds: seq })) messages[index] = raw;
  return messages.flatMap((message) => (message && readEvent(message)) ?? []);
}
