import { setTimeout as delay } from 'node:timers/promises';
import type { ConsumerConfig, JetStreamManager, NatsConnection } from 'nats';
import { headers } from 'nats';
import { eventsStream, positionsBucket } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import type { Archives } from './archives.ts';
import { openArchives } from './archives.ts';
import { inboxOf } from './inbox.ts';
import { jsonOf } from './json.ts';
import type { RawEvent } from './log-event.ts';
import type { LogLook } from './log-messages.ts';
import { createLook } from './log-messages.ts';
import { dedupWindowMs } from './publish.ts';
import { openRegisters } from './registers.ts';

/** Puts events back into the log. Only who may all can: services append events of their own alone. */
export type Restorer = LogLook & {
  /**
   * Appends what `read` gives from the log's end on, each event at its own sequence, until it gives no more; answers how many. Where somebody
   * else appends meanwhile it stops: throws `conflict`.
   */
  fill(read: Read): Promise<number>;
  /** Deletes the log, and makes it anew and empty with the same settings and durable consumers. */
  empty(): Promise<void>;
  /** The rules that the log began with, as its stream's description says them. */
  rules(): Promise<string>;
  begin(rules: string): Promise<void>;
  /** The newest position of each who reads the log for others. */
  positions(): Promise<{ name: string; text: string }[]>;
  archives: Archives;
};

const batch = 256;
const batchBytesMax = 8 * 1024 ** 2;
const ackMs = 10_000;
const failuresMax = 10;

type Read = (from: number, limit: number) => RawEvent[];

export function createRestorer(nc: NatsConnection, jsm: JetStreamManager): Restorer {
  const look = createLook(nc, jsm);
  return {
    ...look,
    async fill(read) {
      let filled = 0;
      for (let failures = 0; ; ) {
        const { lastSeq } = await look.logSight();
        const events = upTo(batchBytesMax, read(lastSeq + 1, batch));
        if (events.length === 0) return filled;
        const taken = await publishInOrder(nc, events, failures === 0);
        filled += taken;
        failures = taken === events.length ? 0 : failures + 1;
        if (failures === 0) continue;
        if (failures > failuresMax)
          throw new Failure(
            'unavailable',
            `the log did not take event ${lastSeq + taken + 1}; begin again, it goes on`,
          );
        await delay(100 * failures);
        await checkEnd(look, read);
      }
    },
    empty: () => makeAnew(jsm),
    rules: async () => (await jsm.streams.info(eventsStream)).config.description ?? '',
    async begin(rules) {
      const { config } = await jsm.streams.info(eventsStream);
      if (config.description !== rules) await jsm.streams.update(eventsStream, { ...config, description: rules });
    },
    positions: () => openRegisters(nc, positionsBucket).list('>'),
    archives: openArchives(nc),
  };
}

async function makeAnew(jsm: JetStreamManager): Promise<void> {
  const { config } = await jsm.streams.info(eventsStream);
  const durable: ConsumerConfig[] = [];
  for await (const info of jsm.consumers.list(eventsStream)) if (info.config.durable_name) durable.push(info.config);
  await jsm.streams.delete(eventsStream);
  await jsm.streams.add(config);
  for (const consumer of durable) await jsm.consumers.add(eventsStream, consumer);
}

/** After a failure: what lies at the log's end must be ours, or somebody else writes there. */
async function checkEnd(look: LogLook, read: Read): Promise<void> {
  const { lastSeq } = await look.logSight();
  if (lastSeq === 0) return;
  const [[found], [wanted]] = [await look.messagesAt([lastSeq]), read(lastSeq, 1)];
  if (found && wanted && Buffer.from(found.bytes).equals(wanted.bytes)) return;
  throw new Failure('conflict', `somebody else has appended event ${lastSeq} to the log: end every service first`);
}

type PubAck = { seq?: number; duplicate?: boolean; error?: { description: string } };

/** Publishes them at once, for the server takes them in their order and each only behind the one before; answers how many it took. */
async function publishInOrder(nc: NatsConnection, events: readonly RawEvent[], withIds: boolean): Promise<number> {
  const acks = await Promise.all(
    events.map(async ({ seq, subject, bytes }) => {
      const header = headers();
      header.set('Nats-Expected-Last-Sequence', String(seq - 1));
      const id = withIds ? recentId(bytes) : undefined;
      if (id) header.set('Nats-Msg-Id', id);
      const question = inboxOf(nc).question(subject, bytes, header);
      const reply = await question
        .ask(ackMs)
        .catch(() => undefined)
        .finally(question.close);
      const ack = reply?.json<PubAck>();
      return !ack?.error && !ack?.duplicate && ack?.seq === seq;
    }),
  );
  const failed = acks.indexOf(false);
  return failed === -1 ? acks.length : failed;
}

/** Whoever has written it may still repeat it, having heard no answer. Of older ones the same id may be there twice. */
function recentId(bytes: Uint8Array): string | undefined {
  const event = jsonOf(bytes) as { id?: unknown; time?: unknown } | undefined;
  const isRecent = typeof event?.time === 'string' && Date.now() - Date.parse(event.time) < dedupWindowMs;
  return isRecent && typeof event.id === 'string' ? event.id : undefined;
}

function upTo(bytesMax: number, events: RawEvent[]): RawEvent[] {
  let bytes = 0;
  const end = events.findIndex((event, index) => {
    bytes += event.bytes.byteLength;
    return index > 0 && bytes > bytesMax;
  });
  return end === -1 ? events : events.slice(0, end);
}
