import type { JetStreamManager, NatsConnection, StreamConfig } from 'nats';
import { headers, NatsError, StorageType } from 'nats';
import { Failure } from '#shared/errors.ts';
import { inboxOf } from './inbox.ts';
import { getStored } from './stored.ts';

/** JetStream's code for a change that this server does not make to a stream that is there. */
const changeRefused = 10_052;
export const isChangeRefused = (error: unknown): boolean =>
  error instanceof NatsError && error.api_error?.err_code === changeRefused;

const copyOf = (name: string) => `${name}_COPY`;
const aheadMax = 64;
const attemptMs = 5_000;
const waitMs = 100;

/** Whether making a stream anew was begun here, and not ended. */
export const isBeingRemade = async (jsm: JetStreamManager, name: string): Promise<boolean> =>
  (await jsm.streams.info(copyOf(name)).catch(() => undefined)) !== undefined;

/**
 * Makes a stream anew with another configuration, and every message at its sequence: for what a server cannot change, as 2.9.10 cannot let a
 * stream tell of its messages (`republish`; 2.15.1 can). First a copy is made, and it goes last: whoever begins again finds all that there was.
 * `wanted` is asked with the sequence of the last message that is there.
 */
export async function remakeStream(
  nc: NatsConnection,
  jsm: JetStreamManager,
  name: string,
  wanted: (last: number) => Partial<StreamConfig> & { name: string },
): Promise<void> {
  const copy = copyOf(name);
  const found = await jsm.streams.info(name).catch(() => undefined);
  if (found && !found.config.republish) {
    if (found.state.messages > 0 && found.state.first_seq !== 1)
      throw new Failure(
        'conflict',
        `${name} has lost its beginning, and this nats-server cannot change it: use a newer one`,
      );
    // Nobody appends meanwhile.
    await jsm.streams.update(name, { ...found.config, max_msgs: Math.max(1, found.state.messages) });
    if (!(await isBeingRemade(jsm, name)))
      await jsm.streams.add({
        name: copy,
        mirror: { name },
        storage: StorageType.File,
        num_replicas: found.config.num_replicas,
      });
    const { state } = await jsm.streams.info(name);
    while ((await jsm.streams.info(copy)).state.last_seq < state.last_seq)
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    await jsm.streams.delete(name);
  }
  const { last_seq: last } = (await jsm.streams.info(copy)).state;
  if (!found?.config.republish) await jsm.streams.add(wanted(last));
  await fill(nc, jsm, name, copy);
  await jsm.streams.delete(copy);
}

/** Publishes what the copy has and the stream does not, each at its sequence. */
async function fill(nc: NatsConnection, jsm: JetStreamManager, name: string, copy: string): Promise<void> {
  const { last_seq: to } = (await jsm.streams.info(copy)).state;
  const { last_seq: from } = (await jsm.streams.info(name)).state;
  for (let seq = from + 1; seq <= to; seq += aheadMax) {
    const sequences = Array.from({ length: Math.min(aheadMax, to - seq + 1) }, (_, index) => seq + index);
    const messages = await Promise.all(sequences.map((each) => getStored(nc, copy, { seq: each })));
    for (const [index, message] of messages.entries()) {
      if (!message) throw new Failure('internal', `${copy} has no message ${seq + index}`);
      await put(nc, message.subject, message.bytes, message.headers, seq + index - 1);
    }
  }
}

async function put(
  nc: NatsConnection,
  subject: string,
  bytes: Uint8Array,
  before: ReadonlyMap<string, string>,
  expected: number,
): Promise<void> {
  const header = headers();
  const id = before.get('Nats-Msg-Id');
  if (id) header.set('Nats-Msg-Id', id);
  header.set('Nats-Expected-Last-Sequence', String(expected));
  const question = inboxOf(nc).question(subject, bytes, header);
  try {
    const { seq, error } = (await question.ask(attemptMs)).json<{ seq?: number; error?: { description: string } }>();
    if (error || seq !== expected + 1)
      throw new Failure(
        'unavailable',
        `message ${expected + 1} was not taken: ${error?.description ?? `it is ${seq}`}`,
      );
  } finally {
    question.close();
  }
}
