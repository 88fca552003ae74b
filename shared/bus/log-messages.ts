import type { JetStreamManager, NatsConnection } from 'nats';
import { NatsError } from 'nats';
import { eventsStream } from '#shared/contracts/subjects.ts';
import type { RawEvent } from './log-event.ts';
import { getStored } from './stored.ts';

/** What the log says of itself. `messages` are fewer than between first and last where some are missing. */
export type LogSight = { firstSeq: number; lastSeq: number; messages: number };

/** Looks at the log as it is. */
export type LogLook = {
  /** Of a log that there is not: that it is empty. */
  logSight(): Promise<LogSight>;
  /** What lies at these sequences, all asked for at once; undefined where there is nothing, or nothing that can be read. */
  messagesAt(sequences: readonly number[]): Promise<(RawEvent | undefined)[]>;
};

const streamNotFound = 10_059;

export const createLook = (nc: NatsConnection, jsm: JetStreamManager): LogLook => ({
  async logSight() {
    try {
      const { state } = await jsm.streams.info(eventsStream);
      return { firstSeq: state.first_seq, lastSeq: state.last_seq, messages: state.messages };
    } catch (error) {
      if (error instanceof NatsError && error.api_error?.err_code === streamNotFound)
        return { firstSeq: 0, lastSeq: 0, messages: 0 };
      throw error;
    }
  },
  messagesAt: (sequences) => Promise.all(sequences.map((seq) => getStored(nc, eventsStream, { seq }))),
});
