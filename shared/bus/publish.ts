import type { MsgHdrs, NatsConnection } from 'nats';
import { headers } from 'nats';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Question } from './inbox.ts';
import { inboxOf } from './inbox.ts';
import { refusalOf } from './refusals.ts';
import { getStored } from './stored.ts';

/** How long a publisher may repeat a message with the same id before it would count as new. */
export const dedupWindowMs = 120_000;
const attemptMs = 2_000;

export type Publication = {
  /** The stream that takes what comes on the subject: it is asked what lies there. */
  stream: string;
  subject: string;
  payload: string | Uint8Array;
  /** Names this message: repeated within two minutes, it is the same one. */
  id: string;
  /** The sequence of the last message on the subject that its author has seen; 0: there is none. Undefined: it does not matter. */
  expected?: number | undefined;
  extra?: Readonly<Record<string, string>> | undefined;
  /** Lets each attempt go, or throws: nats-server may have been started anew between two. */
  pass?: ((untilMs: number) => Promise<void>) | undefined;
};

type PubAck = { seq?: number; error?: { code: number; err_code: number; description: string } };

/** JetStream's codes: another sequence is the last (10071), or is about to be, in a cluster (10164, nats-server >= 2.12). */
const wrongLastSequence = 10_071;
const othersInFlight = 10_164;
/** Refusals with a code below 500 that pass: a message with this id is in flight (10158), too many requests (10167). */
const passing = new Set([10_158, 10_167]);

/**
 * Publishes to a stream until it is acknowledged, and answers the sequence. Throws `conflict` where another message was first,
 * `disk-full` where there is no room for it, `unavailable` after `deadlineMs`: it may have been taken all the same.
 *
 * Not by `js.publish`, which is three times slower for its promise and timer per message.
 */
export async function publishUntil(nc: NatsConnection, publication: Publication, deadlineMs: number): Promise<number> {
  const question = inboxOf(nc).question(publication.subject, publication.payload, headersOf(publication));
  try {
    return await untilAcknowledged(nc, question, publication, deadlineMs);
  } finally {
    question.close();
  }
}

async function untilAcknowledged(
  nc: NatsConnection,
  question: Question,
  publication: Publication,
  deadlineMs: number,
): Promise<number> {
  const { subject } = publication;
  const untilMs = performance.now() + Math.min(deadlineMs, dedupWindowMs);
  let isInDoubt = false;
  for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, 1_000)) {
    await publication.pass?.(untilMs);
    const answer = await attempt(question);
    if (answer.seq !== undefined) return answer.seq;
    if (answer.refused === 'another') {
      const own = isInDoubt ? await ownSeq(nc, publication) : undefined;
      if (own !== undefined) return own;
      // In a cluster the one in flight may be our own: it is asked for again until that is known.
      if (!(isInDoubt && answer.isInFlight)) throw new Failure('conflict', `another writer was first on ${subject}`);
    }
    if (answer.full) {
      const own = isInDoubt && publication.expected !== undefined ? await ownSeq(nc, publication) : undefined;
      if (own !== undefined) return own;
      // Without an expected one nobody can say whether an earlier attempt was taken.
      if (!isInDoubt || publication.expected !== undefined) throw answer.full;
    }
    if (answer.refused === 'for good') throw new Failure('internal', `${subject}: ${answer.reason}`);
    isInDoubt ||= answer.refused === undefined;
    if (nc.isClosed() || performance.now() + waitMs > untilMs)
      throw new Failure('unavailable', `the log did not take an event on ${subject}: ${answer.reason}`);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** `refused` undefined, without a sequence: nobody knows whether it was taken. */
type Answer = {
  seq?: number;
  refused?: 'another' | 'for good' | 'for now';
  isInFlight?: boolean;
  full?: Failure | undefined;
  reason: string;
};

async function attempt(question: Question): Promise<Answer> {
  let ack: PubAck;
  try {
    ack = (await question.ask(attemptMs)).json<PubAck>();
  } catch (error) {
    return { reason: messageOf(error) };
  }
  const { seq, error } = ack;
  // A refusal has a sequence, too: 0.
  if (!error) return seq === undefined ? { reason: 'no acknowledgement' } : { seq, reason: '' };
  const reason = error.description;
  if (error.err_code === wrongLastSequence || error.err_code === othersInFlight)
    return { refused: 'another', isInFlight: error.err_code === othersInFlight, reason };
  const full = refusalOf(error);
  return { refused: full || error.code >= 500 || passing.has(error.err_code) ? 'for now' : 'for good', full, reason };
}

/**
 * The sequence of our own message where it was taken and its acknowledgement lost: it is the first on its subject after the expected one.
 * From 2.12.0 on a nats-server without a cluster compares the sequence before it looks for the id (2.9 to 2.11: after), and so takes a
 * repeated message for another writer's. Seen with 2.9.10 and 2.15.1.
 */
async function ownSeq(nc: NatsConnection, { stream, subject, id, expected = 0 }: Publication) {
  const found = await getStored(nc, stream, { seq: expected + 1, next_by_subj: subject });
  return found?.headers.get('Nats-Msg-Id') === id ? found.seq : undefined;
}

function headersOf({ id, expected, extra = {} }: Publication): MsgHdrs {
  const header = headers();
  header.set('Nats-Msg-Id', id);
  if (expected !== undefined) header.set('Nats-Expected-Last-Subject-Sequence', String(expected));
  for (const [name, value] of Object.entries(extra)) header.set(name, value);
  return header;
}
