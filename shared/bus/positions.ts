import type { JetStreamClient, KV } from 'nats';
import { positionsBucket } from '#shared/contracts/subjects.ts';
import { jsonOf } from './json.ts';
import { patiently } from './patiently.ts';

/** How far each reader of the log has come, by its name: the newest word of each is kept. */
export type Positions = {
  put(name: string, position: unknown): Promise<void>;
  /** Undefined: there is none. */
  get(name: string): Promise<unknown>;
  remove(name: string): Promise<void>;
};

export function openPositions(js: JetStreamClient): Positions {
  const inBucket = <T>(failure: string, work: (bucket: KV) => Promise<T>): Promise<T> =>
    patiently(failure, async () => work(await js.views.kv(positionsBucket, { bindOnly: true })));
  return {
    put: (name, position) =>
      inBucket(
        'a position could not be kept',
        async (bucket) => void (await bucket.put(name, JSON.stringify(position))),
      ),
    get: (name) =>
      inBucket('a position could not be read', async (bucket) => {
        const found = await bucket.get(name);
        return found?.operation === 'PUT' ? jsonOf(found.value) : undefined;
      }),
    remove: (name) => inBucket('a position could not be removed', (bucket) => bucket.purge(name)),
  };
}
