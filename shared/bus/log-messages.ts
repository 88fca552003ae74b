import { setTimeout as delay } from 'node:timers/promises';
import type { JetStreamManager, NatsConnection } from 'nats';
import { eventsStream } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { inboxOf } from './inbox.ts';
import { noMessageFound } from './stored.ts';

/** What lies in the log at a sequence, whether it is an event or not. */
export type LogMessage = { seq: number; subject: string; bytes: Uint8Array };

/** What the log says of itself. `messages` are fewer than between first and last where some are missing. */
export type LogSight = { firstSeq: number; lastSeq: number; messages: number };

async function sightOf(jsm: JetStreamManager): Promise<LogSight> {
  const { state } = await jsm.streams.info(eventsStream);
  return { firstSeq: state.first_seq, lastSeq: state.last_seq, messages: state.messages };
}

/** Looks at the log as it is. */
export type LogLook = {
  logSight(): Promise<LogSight>;
  /** The messages at these sequences, all asked for at once; undefined where there is none, or none that can be read. */
  messagesAt(sequences: readonly number[]): Promise<(LogMessage | undefined)[]>;
};

export const createLook = (nc: NatsConnection, jsm: JetStreamManager): LogLook => ({
  logSight: () => sightOf(jsm),
  messagesAt: (sequences) => messagesAt(nc, sequences),
});

type Answer = {
  message?: { seq: number; subject: string; data?: string };
  error?: { err_code: number; description: string };
};

const attemptMs = 2_000;
const attemptsMax = 5;

const messagesAt = (nc: NatsConnection, sequences: readonly number[]): Promise<(LogMessage | undefined)[]> =>
  Promise.all(sequences.map((seq) => messageAt(nc, seq)));

async function messageAt(nc: NatsConnection, seq: number): Promise<LogMessage | undefined> {
  const subject = `$JS.API.STREAM.MSG.GET.${eventsStream}`;
  for (let attempt = 1; ; attempt++) {
    let reason: string;
    try {
      const reply = await inboxOf(nc).request(subject, JSON.stringify({ seq }), { timeoutMs: attemptMs });
      const { message, error } = reply.json<Answer>();
      if (message) return { seq, subject: message.subject, bytes: Buffer.from(message.data ?? '', 'base64') };
      if (error?.err_code === noMessageFound) return undefined;
      reason = error?.description ?? 'no message in the answer';
    } catch (error) {
      reason = messageOf(error);
    }
    if (attempt === attemptsMax || nc.isClosed())
      throw new Failure('unavailable', `event ${seq} could not be read from the log: ${reason}`);
    await delay(100 * attempt);
  }
}
