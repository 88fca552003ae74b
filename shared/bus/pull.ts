import type { Msg, NatsConnection } from 'nats';
import { createInbox } from 'nats';

/** A message from a stream, with the means to say what became of it. */
export type Delivery = {
  subject: string;
  data: Uint8Array;
  streamSeq: number;
  /** Counts the consumer's deliveries: a hole in it is a message that was lost on the way. */
  consumerSeq: number;
  /** How many times it was delivered, this one included. */
  deliveries: number;
  /** Messages that the consumer has yet to deliver after this one. */
  pending: number;
  ack(): void;
  /** Gives it back at once, or after `delayMs`. */
  nak(delayMs?: number): void;
  /** Holds it for another lease. */
  working(): void;
};

type PullOptions = { batch: number; expiresMs: number; noWait?: boolean; signal?: AbortSignal };

/** `done`: the batch is full, has expired, or there is nothing; `lost`: the consumer, its server or the connection has gone. */
export type PullEnd = 'done' | 'lost';

const heartbeatMs = 1_000;
const silenceMsMax = 2_500;
const drainMsMax = 500;

/**
 * One pull request: hands over each message as it comes, and resolves when there will be no more. A server that was restarted is
 * noticed by its silence in 2.5 s; `nats`' own consume() can take 30 s.
 */
export function pull(
  nc: NatsConnection,
  stream: string,
  consumer: string,
  { batch, expiresMs, noWait = false, signal }: PullOptions,
  onMessage: (delivery: Delivery) => void,
): Promise<PullEnd> {
  return new Promise((resolve) => {
    const inbox = createInbox();
    let received = 0;
    let silence: NodeJS.Timeout | undefined;
    const finish = (end: PullEnd) => {
      clearTimeout(silence);
      signal?.removeEventListener('abort', aborted);
      if (!nc.isClosed()) sub.unsubscribe();
      resolve(end);
    };
    // What is on its way still comes, and is handed over: otherwise it would lie until its lease is over.
    const aborted = () => {
      silence = setTimeout(() => finish('done'), drainMsMax);
      sub.drain().then(
        () => finish('done'),
        () => finish('done'),
      );
    };
    const expectMore = () => {
      clearTimeout(silence);
      silence = setTimeout(() => finish('lost'), silenceMsMax);
    };
    const sub = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error) return finish('lost');
        const status = msg.headers?.code ?? 0;
        if (status === 100) return expectMore();
        // 404 none there, 408 expired; 409 consumer gone or server going down, 503 no JetStream.
        if (status >= 400) return finish(status === 404 || status === 408 ? 'done' : 'lost');
        received += 1;
        expectMore();
        onMessage(delivery(msg));
        if (received >= batch) finish('done');
      },
    });
    if (signal?.aborted || nc.isClosed()) return finish('lost');
    signal?.addEventListener('abort', aborted);
    expectMore();
    const request = noWait
      ? { batch, no_wait: true }
      : { batch, expires: expiresMs * 1e6, idle_heartbeat: Math.min(heartbeatMs, expiresMs / 3) * 1e6 };
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), { reply: inbox });
  });
}

/** The reply subject says it all: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`. */
function delivery(msg: Msg): Delivery {
  const tokens = (msg.reply ?? '').split('.');
  const at = tokens.length > 9 ? 6 : 4; // with a domain, two more tokens come first
  return {
    subject: msg.subject,
    data: msg.data,
    deliveries: Number(tokens[at]),
    streamSeq: Number(tokens[at + 1]),
    consumerSeq: Number(tokens[at + 2]),
    pending: Number(tokens[at + 4]),
    ack: () => msg.respond('+ACK'),
    nak: (delayMs) => msg.respond(delayMs ? `-NAK {"delay": ${delayMs * 1e6}}` : '-NAK'),
    working: () => msg.respond('+WPI'),
  };
}
