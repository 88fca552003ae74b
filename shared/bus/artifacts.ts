import { createHash } from 'node:crypto';
import type { JetStreamClient, JetStreamManager } from 'nats';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import { artifactsBucket } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { addObject, objectInfo, readObject } from './objects.ts';
import { patiently } from './patiently.ts';

/** Bytes named by their SHA-256, for what is too big for an event. */
export type Artifacts = {
  put(bytes: Uint8Array): Promise<ArtifactRef>;
  get(ref: ArtifactRef): Promise<Buffer>;
};

/** The bucket's stream is there already: see streams.ts. */
export function openArtifacts(js: JetStreamClient, jsm: JetStreamManager): Artifacts {
  return {
    async put(bytes) {
      const ref = { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.byteLength };
      return patiently('an artifact could not be kept', async () => {
        if (!(await objectInfo(jsm, artifactsBucket, ref.sha256)))
          await addObject(js, artifactsBucket, ref.sha256, bytes);
        return ref;
      });
    },
    async get({ sha256 }) {
      const bytes = await patiently('an artifact could not be fetched', () => readObject(jsm, artifactsBucket, sha256));
      if (!bytes) throw new Failure('not-found', `there is no artifact ${sha256}`);
      if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
        throw new Failure('internal', `artifact ${sha256} is not what it was: its bytes have another hash`);
      }
      return bytes;
    },
  };
}
