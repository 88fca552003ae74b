import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { NatsConnection } from 'nats';
import { connect, DiscardPolicy, nanos, StorageType } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import { adminUser, logAccount } from '#shared/bus/users.ts';
import { commandRun, foldRun } from '#shared/command.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { queued } from '#test/helpers/events.ts';
import { natsServers, passwordOf, startBareNats, startNatsWithUsers } from '#test/helpers/servers.ts';

const ann = { source: '/toka/gateway/1', actor: 'user:ann' };
const scheduler = { source: '/toka/scheduler/1', actor: 'service:scheduler' };

/** The streams as the version before had them, in the account that a server has by itself. */
async function makeFormerStreams(nc: NatsConnection): Promise<void> {
  const jsm = await nc.jetstreamManager();
  const file = { storage: StorageType.File, discard: DiscardPolicy.New };
  const rolls = { allow_rollup_hdrs: true };
  await jsm.streams.add({
    ...file,
    name: 'EVENTS',
    subjects: ['toka.events.>'],
    allow_direct: true,
    deny_delete: true,
  });
  await jsm.streams.add({
    ...file,
    ...rolls,
    name: 'OBJ_artifacts',
    subjects: ['$O.artifacts.C.>', '$O.artifacts.M.>'],
  });
  await jsm.streams.add({
    ...file,
    ...rolls,
    name: 'OBJ_snapshots',
    subjects: ['$O.snapshots.C.>', '$O.snapshots.M.>'],
  });
  const leases = { storage: StorageType.Memory, max_age: nanos(1_500), max_msgs_per_subject: 1, ...rolls };
  await jsm.streams.add({ ...leases, name: 'KV_leases', subjects: ['$KV.leases.>'] });
}

for (const program of natsServers)
  test(`a log of the version before goes on: its history counts as it did, and what people say now is kept apart (${program})`, async (t) => {
    await using former = await startBareNats(program);
    const nc = await connect({ servers: former.url });
    await makeFormerStreams(nc);
    const id = newId('run');
    const old = (draft: Parameters<typeof newEvent>[0], writer: typeof ann) => {
      const { decision: _, ...event } = newEvent(draft, `run/${id}`, writer);
      return nc.jetstream().publish(`toka.events.run.${id}`, JSON.stringify(event));
    };
    await old(queued, ann);
    await old({ type: 'toka.run.paused.v1', data: { reason: 'a break' } }, ann);
    await old({ type: 'toka.run.message-received.v1', data: { text: 'before', mode: 'enqueue' } }, ann);
    const store = await nc
      .jetstream()
      .views.os('artifacts')
      .catch(() => undefined);
    await store?.putBlob({ name: 'x' }, new Uint8Array(10));
    await nc.close();
    await former.kill();

    await using nats = await startNatsWithUsers(program, {
      prepare(folder) {
        mkdirSync(join(folder, 'jetstream'), { recursive: true });
        renameSync(join(former.folder, 'jetstream', '$G'), join(folder, 'jetstream', logAccount));
      },
    });
    const admin = {
      url: nats.url,
      user: adminUser,
      password: passwordOf(adminUser),
      name: 't',
      leaseMs: 1_000,
      replicas: 1,
    };
    await using bus = await openBus(admin, () => undefined);
    const before = await bus.history('run', id);
    t.is(before.events.length, 3);
    t.is(before.last, 3);
    t.is(foldRun(before.events)?.status, 'paused');
    await commandRun(bus, id, { type: 'resume', reason: 'go on' }, ann);
    await bus.append(newEvent({ type: 'toka.run.dispatched.v1', data: { reason: 'x' } }, `run/${id}`, scheduler), 3);
    const { decision: _, ...forged } = newEvent(
      { type: 'toka.run.cancelled.v1', data: { reason: 'x' } },
      `run/${id}`,
      ann,
    );
    await bus.append(forged as typeof forged & { decision?: true });
    const after = await bus.history('run', id);
    t.deepEqual(
      after.events.map(({ type }) => type.split('.')[2]),
      ['queued', 'paused', 'message-received', 'resumed', 'dispatched'],
    );
    t.is(after.last, 6, 'what does not count is what the next append has to expect');
    const stop = new AbortController();
    const seen: number[] = [];
    for await (const { seq } of bus.follow({ from: 1, signal: stop.signal })) {
      seen.push(seq);
      if (seq === 6)
        await bus.append(
          newEvent({ type: 'toka.run.forked.v1', data: { runId: newId('run'), at: 1 } }, `run/${id}`, ann),
        );
      if (seq === 7) stop.abort();
    }
    t.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7], 'what is new is told of, also by a stream that was made without it');
  });
