import type { JetStreamClient } from 'nats';
import { snapshotsBucket } from '#shared/contracts/subjects.ts';
import { patiently, within } from './artifacts.ts';

/** States by name, the newest of each: what was kept before is replaced. */
export type Snapshots = {
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Undefined: there is none. */
  get(name: string): Promise<Buffer | undefined>;
};

const getMsMax = 20_000;

export function openSnapshots(js: JetStreamClient): Snapshots {
  const bucket = () => js.views.os(snapshotsBucket);
  return {
    put: (name, bytes) => patiently('kept', async () => void (await (await bucket()).putBlob({ name }, bytes))),
    get: (name) =>
      patiently('fetched', async () => {
        const blob = await within((await bucket()).getBlob(name), getMsMax);
        return blob ? Buffer.from(blob) : undefined;
      }),
  };
}
