import type { JetStreamManager, NatsConnection } from 'nats';
import { eventsStream, eventsSubjects } from '#shared/contracts/subjects.ts';
import { getStored } from './stored.ts';
import { sweepTasks } from './sweep-tasks.ts';

/** The log and the queue, for who may take away what is old there. */
export type Trimmable = {
  sight(): Promise<{ first: number; last: number; messages: number; bytes: number }>;
  /** When the first message at `seq` or after it came, in epoch milliseconds; undefined where there is none. */
  timeAt(seq: number): Promise<number | undefined>;
  purgeBefore(seq: number): Promise<void>;
  /** See sweep-tasks.ts. */
  sweepTasks(): Promise<number>;
};

export const openTrimmable = (nc: NatsConnection, jsm: JetStreamManager): Trimmable => ({
  async sight() {
    const { first_seq: first, last_seq: last, messages, bytes } = (await jsm.streams.info(eventsStream)).state;
    return { first, last, messages, bytes };
  },
  timeAt: async (seq) => (await getStored(nc, eventsStream, { seq, next_by_subj: eventsSubjects }))?.timeMs,
  // Blocks of the store that hold nothing else are removed at once: seen with nats-server 2.9.10 and 2.15.1. With 2.9.10 a consumer of somebody's
  // then forgets what it has delivered and not yet heard of (findings/nats-purge-forgets-deliveries.sh); Toka has none on the log.
  purgeBefore: async (seq) => void (await jsm.streams.purge(eventsStream, { seq })),
  sweepTasks: () => sweepTasks(jsm),
});
