import { createHash, randomUUID } from 'node:crypto';
import type { JetStreamClient, JetStreamManager } from 'nats';
import { headers } from 'nats';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { storedMessage } from './stored.ts';

/** The stream behind an object store. */
export const streamOf = (bucket: string) => `OBJ_${bucket}`;

const Info = z.object({ nuid: z.string(), chunks: z.number().int().nonnegative() });
type Info = z.infer<typeof Info>;

const padded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
const infoSubject = (bucket: string, name: string) => `$O.${bucket}.M.${padded(Buffer.from(name))}`;
const chunkSubject = (bucket: string, id: string) => `$O.${bucket}.C.${id}`;

/** The object store's own note of an object: its chunks' name, and how many there are. */
export async function objectInfo(jsm: JetStreamManager, bucket: string, name: string): Promise<Info | undefined> {
  const found = await storedMessage(jsm, streamOf(bucket), { last_by_subj: infoSubject(bucket, name) });
  return found && Info.parse(JSON.parse(Buffer.from(found.data).toString('utf8')));
}

/**
 * An object's bytes, chunk by chunk, as whoever reads the log does. Not by `getBlob`, for two reasons: it waits for ever when the chunks are
 * purged meanwhile; and it needs a consumer, which JetStream lets deliver to any subject, one that its user may not publish to included.
 */
export async function readObject(jsm: JetStreamManager, bucket: string, name: string): Promise<Buffer | undefined> {
  const info = await objectInfo(jsm, bucket, name);
  if (!info) return undefined;
  const chunks: Uint8Array[] = [];
  for (let seq = 1; chunks.length < info.chunks; ) {
    const chunk = await storedMessage(jsm, streamOf(bucket), { seq, next_by_subj: chunkSubject(bucket, info.nuid) });
    if (!chunk) throw new Failure('unavailable', `${info.chunks - chunks.length} of its chunks are missing`);
    chunks.push(chunk.data);
    seq = chunk.seq + 1;
  }
  return Buffer.concat(chunks);
}

const chunkBytes = 128 * 1024;

/**
 * Keeps an object as `putBlob` does, but for one thing: what had this name before is not purged, for a user that may purge may purge everything.
 * It is for names that always mean the same bytes.
 */
export async function addObject(js: JetStreamClient, bucket: string, name: string, bytes: Uint8Array): Promise<void> {
  const nuid = randomUUID();
  const chunks = Math.ceil(bytes.byteLength / chunkBytes);
  const publishing = Array.from({ length: chunks }, (_, index) =>
    js.publish(chunkSubject(bucket, nuid), bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes)),
  );
  await Promise.all(publishing);
  const header = headers();
  header.set('Nats-Rollup', 'sub');
  const info = {
    ...{ name, description: '', bucket, nuid, size: bytes.byteLength, chunks, mtime: new Date().toISOString() },
    ...{ digest: `SHA-256=${padded(createHash('sha256').update(bytes).digest())}`, deleted: false },
    options: { max_chunk_size: chunkBytes },
  };
  await js.publish(infoSubject(bucket, name), JSON.stringify(info), { headers: header });
}
