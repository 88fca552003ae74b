import type { JetStreamManager } from 'nats';

/** What JetStream holds: sizes in bytes. `replicas` counts the copies that are up to date. */
export type JetStreamState = {
  streams: { name: string; messages: number; bytes: number; lastSeq: number; replicas: number }[];
  consumers: { stream: string; name: string; pending: number; unacked: number }[];
  storage: { bytes: number; max: number };
};

/** Asks JetStream how it is. Consumers that nobody named (readers that come and go) are left out. */
export async function readState(jsm: JetStreamManager): Promise<JetStreamState> {
  const state: JetStreamState = { streams: [], consumers: [], storage: { bytes: 0, max: 0 } };
  const { storage, limits } = await jsm.getAccountInfo();
  state.storage = { bytes: storage, max: limits.max_storage };
  for await (const { config, state: held, cluster } of jsm.streams.list()) {
    const { name } = config;
    const copies = cluster?.replicas?.filter(({ current }) => current).length ?? 0;
    state.streams.push({
      name,
      messages: held.messages,
      bytes: held.bytes,
      lastSeq: held.last_seq,
      replicas: 1 + copies,
    });
    for await (const info of jsm.consumers.list(name)) {
      if (!info.config.durable_name) continue;
      state.consumers.push({ stream: name, name: info.name, pending: info.num_pending, unacked: info.num_ack_pending });
    }
  }
  return state;
}
