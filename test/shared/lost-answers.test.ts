import test from 'ava';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { adminUser } from '#shared/bus/users.ts';
import { commandKey } from '#shared/command.ts';
import { KeyTerms } from '#shared/contracts/key.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import type { Relay } from '#test/helpers/relay.ts';
import { startRelay } from '#test/helpers/relay.ts';
import { natsServers, passwordOf, startNatsCluster, startNatsWithUsers } from '#test/helpers/servers.ts';

// What becomes of writes whose acknowledgement is lost or late, as every server decides it: the expected sequence is compared before or after
// the id is looked for, by version, and by whether it is a cluster.

const writer = { source: '/toka/test/1', actor: 'service:test' };
const happened = (id: string, reason: string) =>
  newEvent({ type: 'toka.run.dispatched.v1', data: { reason } }, `run/${id}`, writer);

/** A bus whose answers go through a relay, and one that sees what really lies there. */
async function openBoth(stack: AsyncDisposableStack, url: string): Promise<{ bus: Bus; sure: Bus; relay: Relay }> {
  const admin = { user: adminUser, password: passwordOf(adminUser), leaseMs: 1_000, declares: false, replicas: 1 };
  const relay = stack.use(await startRelay(url));
  const sure = stack.use(await openBus({ url, ...admin, name: 'sure' }, () => undefined));
  const bus = stack.use(
    await openBus({ url: relay.url.replace('http', 'nats'), ...admin, name: 'test' }, () => undefined),
  );
  return { bus, sure, relay };
}

for (const program of natsServers)
  for (const kind of ['one server', 'three servers'] as const) {
    const open = async (stack: AsyncDisposableStack) => {
      if (kind === 'one server') return openBoth(stack, stack.use(await startNatsWithUsers(program)).url);
      return openBoth(stack, stack.use(await startNatsCluster(program)).nodes[1]?.url ?? '');
    };

    test(`an append whose answer is lost is done once, and told as done (${program}, ${kind})`, async (t) => {
      await using stack = new AsyncDisposableStack();
      const { bus, sure, relay } = await open(stack);
      const id = newId('run');
      let last = 0;
      for (let count = 0; count < 12; count++) {
        if (count % 3 === 1) relay.loseAnswer();
        last = await bus.append(happened(id, String(count)), last);
      }
      const { events, last: found } = await sure.history('run', id);
      t.deepEqual(
        events.map(({ data }) => (data as { reason: string }).reason),
        Array.from({ length: 12 }, (_, count) => String(count)),
      );
      t.is(found, last);

      // Another's append between the two attempts: what was taken was taken, and what was not is refused.
      relay.loseAnswer();
      const [own] = await Promise.all([bus.append(happened(id, 'own'), last), follower(sure, id, last)]);
      const after = (await sure.history('run', id)).events.slice(-2);
      t.is(after[0]?.seq, own);
      await t.throwsAsync(bus.append(happened(id, 'late'), last), { code: 'conflict' });
    });

    test(`writes whose answers come late are done once: events, keys, notes, leases (${program}, ${kind})`, async (t) => {
      await using stack = new AsyncDisposableStack();
      const { bus, sure, relay } = await open(stack);
      // Later than one attempt waits.
      relay.delayAnswers(2_300);
      const id = newId('run');
      const keyId = newId('key');
      const mint = {
        type: 'mint',
        terms: KeyTerms.parse({ name: 'ci' }),
        hash: 'a'.repeat(64),
        owner: 'ann',
        nowMs: Date.now(),
      } as const;
      const [seq, key, note] = await Promise.all([
        bus.append(happened(id, 'late'), 0),
        commandKey(bus, keyId, mint, writer),
        bus.notes.write('n', 'late', 0),
      ]);
      relay.delayAnswers(0);
      t.deepEqual(
        (await sure.read('run', id)).map((event) => event.seq),
        [seq],
      );
      t.true(key.changed);
      t.is((await sure.read('key', keyId)).length, 1);
      t.deepEqual(await sure.notes.read('n'), { text: 'late', revision: note });
      await t.throwsAsync(sure.notes.write('n', 'other', 0), { code: 'conflict' });
    });
  }

/** Appends as soon as something was appended after `seq`. */
async function follower(bus: Bus, id: string, seq: number): Promise<void> {
  for (;;) {
    const { last } = await bus.history('run', id, { from: seq + 1, decisionsFrom: seq + 1 });
    if (last > 0) return void (await bus.append(happened(id, 'another'), last));
  }
}
