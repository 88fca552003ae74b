import { setTimeout as delay } from 'node:timers/promises';
import { watchRoom } from '#shared/dev/launch/room.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { startNatsWithUsers } from '#test/helpers/servers.ts';
import type { Disk } from './disk.ts';

const stopMsMax = 5_000;
const backMsMax = 60_000;

/**
 * NATS with its data on a small disk, where there is one. As the launcher does (see system.ts there), what watches the disk starts it anew when
 * it is full, so that it refuses what would fail, and with room once more. `disk` is freed once NATS takes messages again.
 */
export async function startNatsOnDisk(leaseMs: number, own: Disk | undefined) {
  await using stack = new AsyncDisposableStack();
  let isFull = false;
  const storeBytesMax = () => (isFull ? 1 : undefined);
  const options = { hasStore: true, leaseMs, store: own?.folder, storeBytesMax };
  const nats: TestServer = stack.use(await startNatsWithUsers(undefined, options));
  let changes = Promise.resolve();
  const startAnew = async () => {
    nats.signal('SIGTERM');
    await Promise.race([nats.gone(), delay(stopMsMax)]);
    await nats.kill();
    await nats.start();
  };
  const room =
    own &&
    stack.use(
      watchRoom(own.folder, {
        say: () => undefined,
        changed(state) {
          isFull = state === 'full';
          changes = startAnew();
          return changes;
        },
      }),
    );
  const disk: Disk | undefined = own && {
    ...own,
    async free() {
      await own.free();
      await eventually(() => room?.state() === 'ok', backMsMax);
      await changes;
    },
  };
  const owned = stack.move();
  return { nats, disk, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
