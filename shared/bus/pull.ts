import type { Msg, NatsConnection } from 'nats';
import type { Channel } from './channel.ts';
import { openChannel } from './channel.ts';

/** A message from a stream, with the means to say what became of it. */
export type Delivery = {
  data: Uint8Array;
  ack(): void;
  /** Gives it back at once, or after `delayMs`. */
  nak(delayMs?: number): void;
  /** Holds it for another lease. */
  working(): void;
};

/** `idle`: channels that pulls leave for the next ones; without it each has its own. */
type PullOptions = { batch: number; expiresMs: number; signal?: AbortSignal; idle?: Channel[] };

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
  { batch, expiresMs, signal, idle }: PullOptions,
  onMessage: (delivery: Delivery) => void,
): Promise<PullEnd> {
  return new Promise((resolve) => {
    const channel = idle?.pop() ?? openChannel(nc);
    let received = 0;
    let silence: NodeJS.Timeout | undefined;
    let isFinished = false;
    const finish = (end: PullEnd) => {
      if (isFinished) return;
      isFinished = true;
      clearTimeout(silence);
      signal?.removeEventListener('abort', aborted);
      if (idle && end === 'done' && !signal?.aborted) idle.push(channel);
      else channel.drain().catch(() => undefined);
      resolve(end);
    };
    const within = (ms: number, end: PullEnd) => {
      clearTimeout(silence);
      silence = setTimeout(() => finish(end), ms);
    };
    // What is on its way still comes, and is handed over: otherwise it would lie until its lease is over.
    const aborted = () => {
      within(drainMsMax, 'done');
      channel.drain().then(
        () => finish('done'),
        () => finish('done'),
      );
    };
    const reply = channel.hear((msg) => {
      const status = msg.headers?.code ?? 0;
      if (status >= 400) return finish(status === 404 || status === 408 ? 'done' : 'lost');
      if (!signal?.aborted) within(silenceMsMax, 'lost');
      // 100: a heartbeat. 404 none there, 408 expired; 409 consumer gone or server going down, 503 no JetStream.
      if (status === 100) return;
      received += 1;
      onMessage(delivery(msg));
      if (received >= batch) finish('done');
    });
    if (signal?.aborted || nc.isClosed()) return finish('lost');
    signal?.addEventListener('abort', aborted);
    within(silenceMsMax, 'lost');
    const request = { batch, expires: expiresMs * 1e6, idle_heartbeat: Math.min(heartbeatMs, expiresMs / 3) * 1e6 };
    nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), { reply });
  });
}

const delivery = (msg: Msg): Delivery => ({
  data: msg.data,
  ack: () => msg.respond('+ACK'),
  nak: (delayMs) => msg.respond(delayMs ? `-NAK {"delay": ${delayMs * 1e6}}` : '-NAK'),
  working: () => msg.respond('+WPI'),
});
