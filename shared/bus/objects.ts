import type { JetStreamManager } from 'nats';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { storedMessage } from './stored.ts';

/** The stream behind an object store. */
export const streamOf = (bucket: string) => `OBJ_${bucket}`;

const Info = z.object({ nuid: z.string(), chunks: z.number().int().nonnegative() });
type Info = z.infer<typeof Info>;

/** The object store's own note of an object: its chunks' name, and how many there are. */
export async function objectInfo(jsm: JetStreamManager, bucket: string, name: string): Promise<Info | undefined> {
  const encoded = Buffer.from(name).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
  const found = await storedMessage(jsm, streamOf(bucket), { last_by_subj: `$O.${bucket}.M.${encoded}` });
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
    const chunk = await storedMessage(jsm, streamOf(bucket), { seq, next_by_subj: `$O.${bucket}.C.${info.nuid}` });
    if (!chunk) throw new Failure('unavailable', `${info.chunks - chunks.length} of its chunks are missing`);
    chunks.push(chunk.data);
    seq = chunk.seq + 1;
  }
  return Buffer.concat(chunks);
}
