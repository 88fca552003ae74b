import { z } from 'zod';

export const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** How many artifacts the store is asked about at a time. */
export const hashesAskedMax = 500;

/** Bytes in the object store, named by their SHA-256. */
export const ArtifactRef = z.object({
  sha256: Sha256,
  bytes: z.number().int().nonnegative(),
});
export type ArtifactRef = z.infer<typeof ArtifactRef>;

/** The hashes of all artifacts that JSON names, wherever it does. In a text within it, quotes are escaped: there it names none. */
export const hashesIn = (json: string): string[] => [
  ...new Set(Array.from(json.matchAll(/"sha256":"([0-9a-f]{64})"/g), ([, sha256 = '']) => sha256)),
];

/** Bytes that a run keeps, under a name of its own. */
export const NamedArtifact = z.object({ name: z.string(), mediaType: z.string(), artifact: ArtifactRef });
export type NamedArtifact = z.infer<typeof NamedArtifact>;

const commit = z.string().regex(/^[0-9a-f]{40}$/);

/** How a run's workspace began: what any runner makes it from, whatever becomes of the repository meanwhile. */
export const WorkspaceBase = z.object({
  branch: z.string(),
  /** Null: an empty workspace. */
  commit: commit.nullable(),
  /** A git bundle with `commit` in it. */
  bundle: ArtifactRef.nullable(),
});
export type WorkspaceBase = z.infer<typeof WorkspaceBase>;

/** The workspace after a step: a git bundle of what is new since the snapshot before. */
export const Snapshot = z.object({ commit, bundle: ArtifactRef });
export type Snapshot = z.infer<typeof Snapshot>;
