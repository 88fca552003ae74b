import { createHash, randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { objectStream } from '#shared/contracts/subjects.ts';
import { publishUntil } from './publish.ts';
import { getStored } from './stored.ts';

/** The id is a part of a subject, and somebody else may have written it: one with wildcards would be the chunks of others. */
const Info = z.object({ nuid: z.string().regex(/^[\w-]{1,64}$/), chunks: z.number().int().nonnegative() });
type Info = z.infer<typeof Info>;

/**
 * One of what has been kept under a name: where its info lies, and when it was written. `info`: which chunks it is made of; undefined where
 * somebody wrote what is no info.
 */
export type Copy = { seq: number; timeMs: number; info: Info | undefined };

const padded = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64').replaceAll('+', '-').replaceAll('/', '_');
export const infoSubject = (bucket: string, name: string) => `$O.${bucket}.M.${padded(Buffer.from(name))}`;
export const chunkSubject = (bucket: string, id: string) => `$O.${bucket}.C.${id}`;

const writeMsMax = 30_000;

/**
 * What has been kept under a name, each in turn, the oldest first: no service may replace or take away what is there, but whoever may write
 * can add something that is not what the name says.
 */
export const copiesOf = (nc: NatsConnection, bucket: string, name: string): AsyncGenerator<Copy> =>
  copiesOn(nc, bucket, infoSubject(bucket, name));

export async function* copiesOn(nc: NatsConnection, bucket: string, subject: string): AsyncGenerator<Copy> {
  for (let seq = 1; ; ) {
    const found = await getStored(nc, objectStream(bucket), { seq, next_by_subj: subject });
    if (!found) return;
    seq = found.seq + 1;
    yield { seq: found.seq, timeMs: found.timeMs, info: infoOf(found.bytes) };
  }
}

function infoOf(bytes: Buffer): Info | undefined {
  try {
    return Info.parse(JSON.parse(bytes.toString('utf8')));
  } catch {
    return undefined;
  }
}

/**
 * The bytes of a copy; undefined where some are missing. Chunk by chunk, as whoever reads the log does: a consumer would be another's to
 * direct.
 */
export async function bytesOf(nc: NatsConnection, bucket: string, { info }: Copy): Promise<Buffer | undefined> {
  if (!info) return undefined;
  const { nuid, chunks: count } = info;
  const chunks: Buffer[] = [];
  for (let seq = 1; chunks.length < count; ) {
    const chunk = await getStored(nc, objectStream(bucket), { seq, next_by_subj: chunkSubject(bucket, nuid) });
    if (!chunk) return undefined;
    chunks.push(chunk.bytes);
    seq = chunk.seq + 1;
  }
  return Buffer.concat(chunks);
}

/** Of every chunk but an object's last. */
export const chunkBytes = 128 * 1024;
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
