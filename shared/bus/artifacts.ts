import { createHash } from 'node:crypto';
import type { JetStreamClient, ObjectStore } from 'nats';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import { artifactsBucket } from '#shared/contracts/subjects.ts';
import { Failure, messageOf } from '#shared/errors.ts';

/** Bytes named by their SHA-256, for what is too big for an event. */
export type Artifacts = {
  put(bytes: Uint8Array): Promise<ArtifactRef>;
  get(ref: ArtifactRef): Promise<Buffer>;
};

/** The bucket's stream is there already: see streams.ts. */
export function openArtifacts(js: JetStreamClient): Artifacts {
  let opened: Promise<ObjectStore> | undefined;
  const bucket = () => {
    opened ??= js.views.os(artifactsBucket).catch((error) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
  return {
    async put(bytes) {
      const ref = { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.byteLength };
      return patiently('kept', async () => {
        const store = await bucket();
        const found = await store.info(ref.sha256);
        if (!found) await store.putBlob({ name: ref.sha256 }, bytes);
        return ref;
      });
    },
    async get({ sha256, bytes: size }) {
      const deadlineMs = getMsMax + size / getBytesPerMs;
      const blob = await patiently('fetched', async () => within((await bucket()).getBlob(sha256), deadlineMs));
      if (!blob) throw new Failure('not-found', `there is no artifact ${sha256}`);
      const bytes = Buffer.from(blob);
      if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
        throw new Failure('internal', `artifact ${sha256} is not what it was: its bytes have another hash`);
      }
      return bytes;
    },
  };
}

const attemptsMax = 20;
const getMsMax = 1_500;
const getBytesPerMs = 1_000;

/**
 * `getBlob` waits for ever when the chunks that it reads are purged meanwhile, as they are when two keep the same bytes at the same
 * time: the second replaces the first. The next try finds the second's.
 */
export async function within<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Failure('timeout', `it took longer than ${Math.round(ms)} ms`)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** NATS may be away for a moment; both operations can be repeated. */
export async function patiently<T>(what: string, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attemptsMax) {
        throw new Failure('unavailable', `an artifact could not be ${what}: ${messageOf(error)}`, { cause: error });
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(100 * attempt, 1_000)));
    }
  }
}
