import { randomUUID } from 'node:crypto';
import type { JetStreamManager, NatsConnection } from 'nats';
import { AckPolicy, headers, nanos } from 'nats';
import { z } from 'zod';
import type { Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { parseEvent, subjectOf } from '#shared/contracts/events.ts';
import type { Entity } from '#shared/contracts/subjects.ts';
import { entitySubject, eventsStream } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Gate } from './gate.ts';
import { inboxOf } from './inbox.ts';
import type { Delivery, PullEnd } from './pull.ts';
import { pull } from './pull.ts';
import { noMessageFound, storedMessage } from './stored.ts';
import { dedupWindowMs, startingAt } from './streams.ts';

const payloadBytesMax = 7_500_000;
const attemptMs = 2_000;
const messageGet = `$JS.API.STREAM.MSG.GET.${eventsStream}`;

/**
 * Appends an event and answers its sequence. `expected` is the sequence of the entity's last event (0: none yet): if another
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
  const header = headers();
  header.set('Nats-Msg-Id', event.id);
  if (expected !== undefined) header.set('Nats-Expected-Last-Subject-Sequence', String(expected));
  return publishUntil(nc, subjectOf(event), payload, header, deadlineMs, gate.pass);
}

type PubAck = { seq?: number; error?: { code: number; err_code: number; description: string } };
const wrongLastSequence = 10071;

/**
 * Publishes to a stream until it is acknowledged: `js.publish` is three times slower, for its promise and timer per message. `pass` lets each
 * attempt go: nats-server may have been started anew between two.
 */
export async function publishUntil(
  nc: NatsConnection,
  subject: string,
  payload: string,
  header: ReturnType<typeof headers>,
  deadlineMs: number,
  pass?: (untilMs: number) => Promise<void>,
): Promise<number> {
  const until = Date.now() + Math.min(deadlineMs, dedupWindowMs);
  for (let wait = 50; ; wait = Math.min(wait * 2, 1_000)) {
    let reason: string;
    await pass?.(until);
    try {
      const reply = await inboxOf(nc).request(subject, payload, { headers: header, timeoutMs: attemptMs });
      const ack = reply.json<PubAck>();
      if (ack.error?.err_code === wrongLastSequence)
        throw new Failure('conflict', `another writer was first on ${subject}`);
      if (ack.error && ack.error.code < 500) throw new Failure('internal', `${subject}: ${ack.error.description}`);
      // A refusal has a sequence, too: 0.
      if (!ack.error && ack.seq !== undefined) return ack.seq;
      reason = ack.error?.description ?? 'no acknowledgement';
    } catch (error) {
      if (error instanceof Failure && error.code !== 'unavailable') throw error;
      reason = messageOf(error);
    }
    if (nc.isClosed() || Date.now() + wait > until) {
      throw new Failure('unavailable', `the log did not take an event on ${subject}: ${reason}`);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/**
 * The events of one entity in order, straight from the stream: commands do not depend on the store. From sequence `from` to the first
 * at or after `until`, or to the last.
 */
export async function read(
  nc: NatsConnection,
  entity: Entity,
  id: string,
  from = 1,
  until = Number.POSITIVE_INFINITY,
): Promise<Recorded[]> {
  const subject = entitySubject(entity, id);
  const events: Recorded[] = [];
  for (let seq = from; ; ) {
    const next = await getMessage(nc, { seq, next_by_subj: subject });
    if (!next) return events;
    events.push(next);
    if (next.seq >= until) return events;
    seq = next.seq + 1;
  }
}

/** The events at these sequences: far cheaper than `read`, for the server need not look for them. */
export async function readAt(nc: NatsConnection, sequences: readonly number[]): Promise<Recorded[]> {
  const found = await Promise.all(sequences.map((seq) => getMessage(nc, { seq })));
  return found.filter((event) => event !== undefined);
}

type StoredMessage = {
  message?: { seq: number; data: string };
  error?: { code: number; err_code: number; description: string };
};

/** The event at `seq`, or the first on a subject at or after it. Not by JetStream's direct get, which users.ts allows nobody. */
async function getMessage(
  nc: NatsConnection,
  query: { seq: number; next_by_subj?: string },
): Promise<Recorded | undefined> {
  for (let attempt = 1; ; attempt++) {
    let reason: string;
    try {
      const reply = await inboxOf(nc).request(messageGet, JSON.stringify(query), { timeoutMs: attemptMs });
      const { message, error } = reply.json<StoredMessage>();
      if (error?.err_code === noMessageFound) return undefined;
      if (message) return parseRaw({ seq: message.seq, bytes: Buffer.from(message.data, 'base64') });
      reason = error?.description ?? 'no message in the answer';
    } catch (error) {
      if (error instanceof z.ZodError) throw error;
      reason = messageOf(error);
    }
    if (attempt >= 20 || nc.isClosed()) throw new Failure('unavailable', `the log could not be read: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(50 * attempt, 500)));
  }
}

/** The sequence of the log's last event, or of the last on a subject, which may have wildcards; 0 for none. */
export async function lastSeq(jsm: JetStreamManager, subject?: string): Promise<number> {
  if (subject === undefined) return (await jsm.streams.info(eventsStream)).state.last_seq;
  return (await storedMessage(jsm, eventsStream, { last_by_subj: subject }))?.seq ?? 0;
}

/** The sequence of the oldest event that the stream still keeps; what came before is in the archive. */
export const firstSeq = async (jsm: JetStreamManager): Promise<number> =>
  (await jsm.streams.info(eventsStream)).state.first_seq;

/** `batch`: how many events are at hand at a time at most. */
export type FollowOptions = {
  from: number;
  subject?: string | undefined;
  batch?: number | undefined;
  signal: AbortSignal;
};

/**
 * Every event from sequence `from` on, in order, without gap or double, for as long as `signal` is not aborted. The ephemeral
 * consumer behind it is made anew from the last position when a server was restarted. A slow reader slows the pulling.
 */
export async function* follow(
  nc: NatsConnection,
  jsm: JetStreamManager,
  { from, subject, batch = usualBatch, signal }: FollowOptions,
): AsyncGenerator<RawEvent> {
  let next = from;
  while (!signal.aborted) {
    let consumer: string;
    try {
      const info = await jsm.consumers.add(eventsStream, {
        // With a name the filter is a part of the request's subject, and so of what a user may be held to.
        name: `follow-${randomUUID()}`,
        ack_policy: AckPolicy.None,
        inactive_threshold: nanos(60_000),
        mem_storage: true,
        num_replicas: 1,
        ...(subject ? { filter_subject: subject } : {}),
        ...startingAt(next),
      });
      consumer = info.name;
    } catch {
      if (nc.isClosed()) return;
      await new Promise((resolve) => setTimeout(resolve, 200));
      continue;
    }
    for await (const raw of pulled(nc, consumer, batch, signal)) {
      next = raw.seq + 1;
      yield raw;
    }
    if (!nc.isClosed()) await jsm.consumers.delete(eventsStream, consumer).catch(() => false);
  }
}

/** An event as it lies in the log; `bytes` are exact, for the hash chain. */
export type RawEvent = { seq: number; subject: string; bytes: Uint8Array; pending: number };

const usualBatch = 500;

/** Pulls until a message is missing from the consumer's count, or the consumer has gone. */
async function* pulled(
  nc: NatsConnection,
  consumer: string,
  batch: number,
  signal: AbortSignal,
): AsyncGenerator<RawEvent> {
  for (let count = 0; !signal.aborted && !nc.isClosed(); ) {
    const buffer: Delivery[] = [];
    let end: PullEnd | undefined;
    let wake = () => {};
    void pull(nc, eventsStream, consumer, { batch, expiresMs: 5_000, signal }, (delivery) => {
      buffer.push(delivery);
      wake();
    }).then((how) => {
      end = how;
      wake();
    });
    while (!end || buffer.length > 0) {
      for (const delivery of buffer.splice(0)) {
        count += 1;
        if (delivery.consumerSeq !== count) return;
        yield { seq: delivery.streamSeq, subject: delivery.subject, bytes: delivery.data, pending: delivery.pending };
      }
      if (!end && buffer.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    if (end === 'lost') return;
  }
}

export const parseRaw = (raw: Pick<RawEvent, 'seq' | 'bytes'>): Recorded => ({
  ...parseEvent(JSON.parse(new TextDecoder().decode(raw.bytes))),
  seq: raw.seq,
});
