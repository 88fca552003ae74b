import { randomUUID } from 'node:crypto';
import type { Msg, MsgHdrs, NatsConnection } from 'nats';
import { Failure } from '#shared/errors.ts';

/** Where a connection's answers come in. */
export type Inbox = {
  /** A reply subject of its own: `onMessage` hears of all that comes until it is closed. */
  open(onMessage: (msg: Msg) => void): { reply: string; close(): void };
  /** A question that may be asked several times, and takes an answer to any of them: one that is late is one all the same. */
  question(subject: string, payload: string | Uint8Array, headers?: MsgHdrs): Question;
};

export type Question = {
  /** Asks once more, and answers with what comes within `timeoutMs`. Throws `unavailable` where nobody listens, or nothing came. */
  ask(timeoutMs: number): Promise<Msg>;
  close(): void;
};

const inboxes = new WeakMap<NatsConnection, Inbox>();
const prefixes = new WeakMap<NatsConnection, string>();

/** Has the connection take its answers under `prefix`, where its user alone may listen. */
export const takeAnswersUnder = (nc: NatsConnection, prefix: string) => void prefixes.set(nc, prefix);

/** A reply subject that nobody can guess, as those of `nats` can be by whoever has seen two of them: who knows it could answer. */
export const newInbox = (nc: NatsConnection): string => `${prefixes.get(nc) ?? '_INBOX'}.${randomUUID()}`;

/**
 * The one inbox of a connection. All answers share a subscription and are told apart by the last part of their subject: a
 * subscription for each question costs the server and both sides more than the question itself.
 */
export function inboxOf(nc: NatsConnection): Inbox {
  const known = inboxes.get(nc);
  if (known) return known;
  const inbox = createShared(nc);
  inboxes.set(nc, inbox);
  return inbox;
}

function createShared(nc: NatsConnection): Inbox {
  const base = `${newInbox(nc)}.`;
  const waiting = new Map<string, (msg: Msg) => void>();
  let count = 0;
  // What comes for a question that was given up has nobody any more.
  nc.subscribe(`${base}*`, { callback: (error, msg) => error ?? waiting.get(msg.subject)?.(msg) });
  const open: Inbox['open'] = (onMessage) => {
    count += 1;
    const reply = base + count.toString(36);
    waiting.set(reply, onMessage);
    return { reply, close: () => waiting.delete(reply) };
  };
  return {
    open,
    question(subject, payload, headers) {
      const early: Msg[] = [];
      let hear = (msg: Msg): unknown => early.push(msg);
      const slot = open((msg) => hear(msg));
      return {
        ask(timeoutMs) {
          return new Promise((resolve, reject) => {
            const end = (msg: Msg | undefined, reason = '') => {
              clearTimeout(timer);
              hear = (late) => early.push(late);
              if (msg) resolve(msg);
              else reject(new Failure('unavailable', reason));
            };
            const timer = setTimeout(() => end(undefined, `${subject} did not answer in ${timeoutMs} ms`), timeoutMs);
            hear = (msg) => (msg.headers?.code === 503 ? end(undefined, `nobody answers ${subject}`) : end(msg));
            const before = early.shift();
            if (before) hear(before);
            else if (nc.isClosed()) end(undefined, 'the connection to NATS is closed');
            else nc.publish(subject, payload, { reply: slot.reply, ...(headers ? { headers } : {}) });
          });
        },
        close: slot.close,
      };
    },
  };
}
