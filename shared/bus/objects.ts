import { createHash, randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { objectStream } from '#shared/contracts/subjects.ts';
import { publishUntil } from './publish.ts';
import { getStored } from './stored.ts';

const Info = z.object({ nuid: z.string(), chunks: z.number().int().nonnegative() });
type Info = z.infer<typeof Info>;

const padded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
const infoSubject = (bucket: string, name: string) => `$O.${bucket}.M.${padded(Buffer.from(name))}`;
const chunkSubject = (bucket: string, id: string) => `$O.${bucket}.C.${id}`;

const writeMsMax = 30_000;

/**
 * What has been kept under a name, each in turn, the oldest first: nobody may replace or take away what is there, but whoever may write
 * can add something that is not what the name says. Chunk by chunk, as whoever reads the log does: a consumer would be another's to direct.
 */
export async function* readObjects(nc: NatsConnection, bucket: string, name: string): AsyncGenerator<Buffer> {
  const stream = objectStream(bucket);
  for (let seq = 1; ; ) {
    const found = await getStored(nc, stream, { seq, next_by_subj: infoSubject(bucket, name) });
    if (!found) return;
    seq = found.seq + 1;
    const info = infoOf(found.bytes);
    const bytes = info && (await readChunks(nc, bucket, info));
    if (bytes) yield bytes;
  }
}

function infoOf(bytes: Buffer): Info | undefined {
  try {
    return Info.parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    return undefined;
  }
}

/** Undefined where some are missing. */
async function readChunks(nc: NatsConnection, bucket: string, { nuid, chunks: count }: Info) {
  const chunks: Buffer[] = [];
  for (let seq = 1; chunks.length < count; ) {
    const chunk = await getStored(nc, objectStream(bucket), { seq, next_by_subj: chunkSubject(bucket, nuid) });
    if (!chunk) return undefined;
    chunks.push(chunk.bytes);
    seq = chunk.seq + 1;
  }
  return Buffer.concat(chunks);
}

const chunkBytes = 128 * 1024;
/** Chunks on their way at a time. */
const inFlightMax = 16;

/** Keeps an object as `putBlob` does, so that any client of NATS reads it, but takes nothing away: names always mean the same bytes. */
export async function addObject(nc: NatsConnection, bucket: string, name: string, bytes: Uint8Array): Promise<void> {
  const nuid = randomUUID();
  const chunks = Math.ceil(bytes.byteLength / chunkBytes);
  const publish = (subject: string, payload: string | Uint8Array, id: string) =>
    publishUntil(nc, { stream: objectStream(bucket), subject, payload, id }, writeMsMax);
  for (let first = 0; first < chunks; first += inFlightMax) {
    const indexes = Array.from({ length: Math.min(inFlightMax, chunks - first) }, (_, index) => first + index);
    const chunkOf = (index: number) => bytes.subarray(index * chunkBytes, (index + 1) * chunkBytes);
    await Promise.all(indexes.map((index) => publish(chunkSubject(bucket, nuid), chunkOf(index), `${nuid}-${index}`)));
  }
  const info = {
    ...{ name, description: '', bucket, nuid, size: bytes.byteLength, chunks, mtime: new Date().toISOString() },
    ...{ digest: `SHA-256=${padded(createHash('sha256').update(bytes).digest())}`, deleted: false },
    options: { max_chunk_size: chunkBytes },
  };
  await publish(infoSubject(bucket, name), JSON.stringify(info), nuid);
}
