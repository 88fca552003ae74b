import type { JetStreamClient, JetStreamManager } from 'nats';
import { snapshotsBucket } from '#shared/contracts/subjects.ts';
import { readObject } from './objects.ts';
import { patiently } from './patiently.ts';

/** States by name, the newest of each: what was kept before is replaced. */
export type Snapshots = {
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Undefined: there is none. */
  get(name: string): Promise<Buffer | undefined>;
};

export function openSnapshots(js: JetStreamClient, jsm: JetStreamManager): Snapshots {
  const bucket = () => js.views.os(snapshotsBucket);
  return {
    put: (name, bytes) =>
      patiently('a state could not be kept', async () => void (await (await bucket()).putBlob({ name }, bytes))),
    get: (name) => patiently('a kept state could not be fetched', () => readObject(jsm, snapshotsBucket, name)),
  };
}
