import type { NatsConnection } from 'nats';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Question } from './inbox.ts';
import { inboxOf } from './inbox.ts';

const attemptMs = 2_000;
const attemptsMax = 20;

/** Which message of a stream: the one at `seq`; the first at or after it on a subject; the last on a subject. Subjects may have wildcards. */
export type Query = { seq: number; next_by_subj?: string } | { last_by_subj: string };

/** A message as it lies in a stream. */
export type Stored = {
  seq: number;
  subject: string;
  bytes: Buffer;
  headers: ReadonlyMap<string, string>;
  /** When the stream took it, in epoch milliseconds. */
  timeMs: number;
};

type Reply = {
  message?: { seq: number; subject: string; data?: string; hdrs?: string; time: string };
  error?: { err_code: number; description: string };
};

/** JetStream's code for a message that is not there. */
const noMessageFound = 10_037;

/**
 * A message of a stream; undefined where there is none. Not by JetStream's direct get, which users.ts allows nobody. Throws `unavailable`
 * where NATS does not answer for about ten seconds.
 */
export async function getStored(nc: NatsConnection, stream: string, query: Query): Promise<Stored | undefined> {
  const question = inboxOf(nc).question(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(query));
  try {
    return await untilAnswered(nc, stream, question);
  } finally {
    question.close();
  }
}

async function untilAnswered(nc: NatsConnection, stream: string, question: Question): Promise<Stored | undefined> {
  for (let attempt = 1; ; attempt++) {
    let reason: string;
    try {
      const { message, error } = (await question.ask(attemptMs)).json<Reply>();
      if (error?.err_code === noMessageFound) return undefined;
      if (message) return storedOf(message);
      reason = error?.description ?? 'no message in the answer';
    } catch (error) {
      reason = messageOf(error);
    }
    if (attempt >= attemptsMax || nc.isClosed())
      throw new Failure('unavailable', `${stream} could not be read: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(50 * attempt, 500)));
  }
}

const storedOf = ({ seq, time, subject, data = '', hdrs }: NonNullable<Reply['message']>): Stored => ({
  seq,
  timeMs: Date.parse(time),
  subject,
  bytes: Buffer.from(data, 'base64'),
  headers: headersOf(hdrs),
});

/** `NATS/1.0`, then a line for each. */
function headersOf(encoded: string | undefined): ReadonlyMap<string, string> {
  if (encoded === undefined) return new Map();
  const lines = Buffer.from(encoded, 'base64').toString('latin1').split('\r\n').slice(1);
  return new Map(
    lines.flatMap((line) => {
      const at = line.indexOf(':');
      return at > 0 ? [[line.slice(0, at), line.slice(at + 1).trim()] as const] : [];
    }),
  );
}
