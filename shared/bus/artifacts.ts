import { createHash } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import { artifactsBucket } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { addObject, readObjects } from './objects.ts';

/** Bytes named by their SHA-256, for what is too big for an event. */
export type Artifacts = {
  put(bytes: Uint8Array): Promise<ArtifactRef>;
  get(ref: ArtifactRef): Promise<Buffer>;
};

const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** The bucket's stream is there already: see streams.ts. */
export function openArtifacts(nc: NatsConnection): Artifacts {
  /** `others`: something else lies under the name. */
  const find = async (sha256: string) => {
    let others = false;
    for await (const bytes of readObjects(nc, artifactsBucket, sha256)) {
      if (sha256Of(bytes) === sha256) return { bytes, others };
      others = true;
    }
    return { bytes: undefined, others };
  };
  return {
    async put(bytes) {
      const sha256 = sha256Of(bytes);
      if (!(await find(sha256)).bytes) await addObject(nc, artifactsBucket, sha256, bytes);
      return { sha256, bytes: bytes.byteLength };
    },
    async get({ sha256 }) {
      const { bytes, others } = await find(sha256);
      if (bytes) return bytes;
      if (others) throw new Failure('internal', `artifact ${sha256} is not what it was: its bytes have another hash`);
      throw new Failure('not-found', `there is no artifact ${sha256}`);
    },
  };
}
