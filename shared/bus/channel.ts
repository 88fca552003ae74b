import type { Msg, NatsConnection } from 'nats';
import { newInbox } from './inbox.ts';

/**
 * Where the messages of one pull at a time come in. It serves many, one after the other: to subscribe costs the server more than
 * what a small pull brings.
 */
export type Channel = {
  /** Hears for one pull: its reply subject. What is left of earlier ones is passed over. */
  hear(onMessage: (msg: Msg) => void): string;
  /** Gives it up: what is on its way is still heard, then nothing more. */
  drain(): Promise<void>;
};

export function openChannel(nc: NatsConnection): Channel {
  const base = newInbox(nc);
  let reply = '';
  let count = 0;
  let heard: (msg: Msg) => void = () => undefined;
  const sub = nc.subscribe(`${base}.*`, {
    callback(error, msg) {
      // A message from a stream keeps its own subject; what the server says of a pull comes on that pull's.
      const isOld = msg.subject.startsWith(base) && msg.subject !== reply;
      if (!error && !isOld) heard(msg);
    },
  });
  return {
    hear(onMessage) {
      count += 1;
      reply = `${base}.${count}`;
      heard = onMessage;
      return reply;
    },
    drain: async () => (nc.isClosed() ? undefined : sub.drain()),
  };
}
