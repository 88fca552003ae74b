import test from 'ava';
import { connect } from 'nats';
import { leaseMs, openLease } from '#shared/bus/lease.ts';
import { openRegisters } from '#shared/bus/registers.ts';
import { leasesBucket } from '#shared/contracts/subjects.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startNats } from '#test/helpers/servers.ts';

test('a lease that is renewed too late is told of: it was not held for a moment, and is again', async (t) => {
  await using nats = await startNats();
  await using stack = new AsyncDisposableStack();
  const nc = stack.adopt(await connect({ servers: nats.url }), (open) => open.close());
  const bucket = openRegisters(nc, leasesBucket);
  const told: string[] = [];
  let writes = 0;
  const late: typeof bucket = {
    ...bucket,
    async write(...args) {
      const revision = await bucket.write(...args);
      writes += 1;
      if (writes !== 2) return revision;
      await new Promise((resolve) => setTimeout(resolve, leaseMs - 300));
      told.push(lease.isHeld() ? 'answered in time' : 'answered late');
      return revision;
    },
  };
  await using lease = openLease(late, 'a-lease', 'one', () => void told.push(lease.isHeld() ? 'held' : 'lost'));
  await eventually(() => told.length > 1 && lease.isHeld());
  // A slow machine may tell of the loss between the two.
  await eventually(() => told.length > 2 && told.at(-1) === 'held');
  t.deepEqual(
    told.filter((each) => each !== 'lost'),
    ['held', 'answered late', 'held'],
  );
});
