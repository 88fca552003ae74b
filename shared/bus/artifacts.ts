import { createHash } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { ArtifactRef } from '#shared/contracts/artifact.ts';
import { artifactsBucket } from '#shared/contracts/subjects.ts';
import { Failure } from '#shared/errors.ts';
import { addObject, bytesOf, copiesOf } from './objects.ts';

/** Bytes named by their SHA-256, for what is too big for an event. */
export type Artifacts = {
  put(bytes: Uint8Array): Promise<ArtifactRef>;
  /** Throws `gone` where it is no longer kept, `internal` where something else lies under its name. */
  get(ref: ArtifactRef): Promise<Buffer>;
  /** Whether something is kept under its name, without reading it. */
  has(ref: Pick<ArtifactRef, 'sha256'>): Promise<boolean>;
};

const dayMs = 86_400_000;

/**
 * What is there is not stored again by whoever puts the same bytes, who then names them in an event. Until that event is in the log, nothing
 * tells the collector that they are needed. So it takes away only what was written `keptMsMin` ago, and a writer relies only on what was
 * written less than `trustedMsMax` ago, and otherwise stores it anew: between them lies a day, far more than a writer needs to append its
 * event (a minute, or its task goes to another runner), and than clocks of two machines differ.
 */
export const trustedMsMax = 6 * dayMs;
export const keptMsMin = 7 * dayMs;

export const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** The bucket's stream is there already: see streams.ts. `trustedMs`: otherwise than above, for tests. */
export function openArtifacts(nc: NatsConnection, trustedMs = trustedMsMax): Artifacts {
  /** `others`: something else lies under the name. */
  const find = async (sha256: string, sinceMs = 0) => {
    let others = false;
    for await (const copy of copiesOf(nc, artifactsBucket, sha256)) {
      const bytes = copy.timeMs < sinceMs ? undefined : await bytesOf(nc, artifactsBucket, copy);
      if (bytes && sha256Of(bytes) === sha256) return { bytes, others };
      others ||= bytes !== undefined;
    }
    return { bytes: undefined, others };
  };
  return {
    async put(bytes) {
      const sha256 = sha256Of(bytes);
      const { bytes: found } = await find(sha256, Date.now() - trustedMs);
      if (!found) await addObject(nc, artifactsBucket, sha256, bytes);
      return { sha256, bytes: bytes.byteLength };
    },
    async get({ sha256 }) {
      const { bytes, others } = await find(sha256);
      if (bytes) return bytes;
      if (others) throw new Failure('internal', `artifact ${sha256} is not what it was: its bytes have another hash`);
      throw new Failure('gone', `artifact ${sha256} is no longer kept`);
    },
    async has({ sha256 }) {
      const { done } = await copiesOf(nc, artifactsBucket, sha256).next();
      return !done;
    },
  };
}
