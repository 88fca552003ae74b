import { randomUUID } from 'node:crypto';
import type { Msg, MsgHdrs, NatsConnection } from 'nats';
import { Failure } from '#shared/errors.ts';

/** Where a connection's answers come in. */
export type Inbox = {
  /** A reply subject of its own: `onMessage` hears of all that comes until it is closed. */
  open(onMessage: (msg: Msg) => void): { reply: string; close(): void };
  /** One question and its first answer. Throws `unavailable` where nobody listens, or nothing came within `timeoutMs`. */
  request(subject: string, payload: string | Uint8Array, options: { timeoutMs: number; headers?: MsgHdrs }): Promise<Msg>;
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
    request(subject, payload, { timeoutMs, headers }) {
      return new Promise((resolve, reject) => {
        const end = (msg: Msg | undefined, reason = '') => {
          clearTimeout(timer);
          slot.close();
          if (msg) resolve(msg);
          else reject(new Failure('unavailable', reason));
        };
        const slot = open((msg) =>
          msg.headers?.code === 503 ? end(undefined, `nobody answers ${subject}`) : end(msg),
        );
        const timer = setTimeout(() => end(undefined, `${subject} did not answer in ${timeoutMs} ms`), timeoutMs);
        if (nc.isClosed()) return end(undefined, 'the connection to NATS is closed');
        nc.publish(subject, payload, { reply: slot.reply, ...(headers ? { headers } : {}) });
      });
    },
  };
}
