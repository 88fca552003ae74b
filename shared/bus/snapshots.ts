import { createHash, randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { snapshotSubject, snapshotsStream } from '#shared/contracts/subjects.ts';
import { jsonOf } from './json.ts';
import { publishUntil } from './publish.ts';
import { getStored } from './stored.ts';

/** States by name, the newest of each: what was kept before is replaced. */
export type Snapshots = {
  put(name: string, bytes: Uint8Array): Promise<void>;
  /** Undefined: there is none, or it is not whole. */
  get(name: string): Promise<Buffer | undefined>;
};

const Head = z.object({ place: z.enum(['a', 'b']), chunks: z.number().int().nonnegative(), sha256: z.string() });

const chunkBytes = 256 * 1024;
const writeMsMax = 30_000;

/**
 * The stream keeps one message of each subject, so what is written takes the place of what was there, and nobody needs a right to purge. A
 * state has two places that take turns, and a head that says which is whole: who reads while another writes finds the one before.
 */
export function openSnapshots(nc: NatsConnection): Snapshots {
  const readHead = async (name: string) => {
    const found = await getStored(nc, snapshotsStream, { last_by_subj: snapshotSubject(name, 'head') });
    return found && Head.safeParse(jsonOf(found.bytes)).data;
  };
  const publish = (name: string, part: string, payload: string | Uint8Array) =>
    publishUntil(
      nc,
      { stream: snapshotsStream, subject: snapshotSubject(name, part), payload, id: randomUUID() },
      writeMsMax,
    );
  return {
    async put(name, bytes) {
      const place = (await readHead(name))?.place === 'a' ? 'b' : 'a';
      const chunks = Math.ceil(bytes.byteLength / chunkBytes);
      for (let index = 0; index < chunks; index++)
        await publish(name, `${place}.${index}`, bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes));
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      await publish(name, 'head', JSON.stringify({ place, chunks, sha256 }));
    },
    async get(name) {
      const head = await readHead(name);
      if (!head) return undefined;
      const chunks: Buffer[] = [];
      for (let index = 0; index < head.chunks; index++) {
        const part = snapshotSubject(name, `${head.place}.${index}`);
        const found = await getStored(nc, snapshotsStream, { last_by_subj: part });
        if (!found) return undefined;
        chunks.push(found.bytes);
      }
      const bytes = Buffer.concat(chunks);
      return createHash('sha256').update(bytes).digest('hex') === head.sha256 ? bytes : undefined;
    },
  };
}
