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

type Refusal = { err_code: number; description: string };
type Message = { seq: number; time: string; subject: string; data?: string; hdrs?: string };

/** JetStream's code for a message that is not there. */
const noMessageFound = 10_037;

/**
 * A message of a stream; undefined where there is none. Not by JetStream's direct get, which users.ts allows nobody. Throws `unavailable`
 * where NATS does not answer for about ten seconds.
 */
export const getStored = (nc: NatsConnection, stream: string, query: Query): Promise<Stored | undefined> =>
  askJetStream<{ message?: Message }, Stored | undefined>(
    nc,
    { stream, subject: `$JS.API.STREAM.MSG.GET.${stream}`, payload: JSON.stringify(query) },
    ({ message, error }) => {
      if (error?.err_code === noMessageFound) return { is: undefined };
      return message && { is: storedOf(message) };
    },
  );

/** From which sequence to which a stream goes. Throws as `getStored`. */
export const getEnds = (nc: NatsConnection, stream: string): Promise<{ first: number; last: number }> =>
  askJetStream<{ state?: { first_seq: number; last_seq: number } }, { first: number; last: number }>(
    nc,
    { stream, subject: `$JS.API.STREAM.INFO.${stream}`, payload: '' },
    ({ state }) => state && { is: { first: state.first_seq, last: state.last_seq } },
  );

type Asked = { stream: string; subject: string; payload: string };

async function askJetStream<Reply, T>(
  nc: NatsConnection,
  { stream, subject, payload }: Asked,
  read: (reply: Reply & { error?: Refusal }) => { is: T } | undefined,
): Promise<T> {
  const question = inboxOf(nc).question(subject, payload);
  try {
    return await untilAnswered(nc, stream, question, read);
  } finally {
    question.close();
  }
}

async function untilAnswered<Reply, T>(
  nc: NatsConnection,
  stream: string,
  question: Question,
  read: (reply: Reply & { error?: Refusal }) => { is: T } | undefined,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let reason: string;
    try {
      const reply = (await question.ask(attemptMs)).json<Reply & { error?: Refusal }>();
      const found = read(reply);
      if (found) return found.is;
      reason = reply.error?.description ?? 'nothing in the answer';
    } catch (error) {
      reason = messageOf(error);
    }
    if (attempt >= attemptsMax || nc.isClosed())
      throw new Failure('unavailable', `${stream} could not be read: ${reason}`);
    await new Promise((resolve) => setTimeout(resolve, Math.min(50 * attempt, 500)));
  }
}

const storedOf = ({ seq, time, subject, data = '', hdrs }: Message): Stored => ({
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
