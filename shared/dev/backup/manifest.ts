import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';

/** What a backup holds, and by which hash each file is known. It is written last: a folder without it is none. */
export const Manifest = z.object({
  format: z.literal(1),
  /** Made at, with which Toka. */
  time: z.iso.datetime(),
  version: z.string(),
  /** The last event in it, and what the hash chain comes to there. */
  seq: z.number().int().nonnegative(),
  chainHead: z.string(),
  /** The rules that the log began with, in its stream's own words. */
  log: z.string(),
  /** How far those had come who read the log for others, such as webhooks. */
  positions: z.array(z.object({ name: z.string(), text: z.string() })),
  files: z.record(z.string().regex(/^[\w.-]+(\/[\w.-]+)?$/), z.object({ bytes: z.number(), sha256: z.string() })),
});
export type Manifest = z.infer<typeof Manifest>;

const fileIn = (folder: string) => join(folder, 'manifest.json');

export async function hashOf(file: string): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return { bytes: statSync(file).size, sha256: hash.digest('hex') };
}

export function writeManifest(folder: string, manifest: Manifest): void {
  writeFileSync(`${fileIn(folder)}.new`, `${JSON.stringify(manifest, undefined, 2)}\n`, { mode: 0o600, flush: true });
  renameSync(`${fileIn(folder)}.new`, fileIn(folder));
  const open = openSync(folder, 'r');
  fsyncSync(open);
  closeSync(open);
}

/** Reads the manifest and checks every file against it. Throws `invalid` with the first that is not what was written. */
export async function readManifest(folder: string): Promise<Manifest> {
  const file = fileIn(folder);
  if (!existsSync(file))
    throw new Failure('invalid', `${folder} holds no whole backup: there is no manifest.json in it`);
  let manifest: Manifest;
  try {
    manifest = Manifest.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    throw new Failure('invalid', `${file} cannot be read: it is of a newer Toka, or was damaged`);
  }
  for (const [name, { bytes, sha256 }] of Object.entries(manifest.files)) {
    const path = join(folder, name);
    const found = existsSync(path) ? await hashOf(path) : undefined;
    if (found?.bytes !== bytes || found.sha256 !== sha256)
      throw new Failure(
        'invalid',
        `${path} is ${found ? 'not what was backed up' : 'missing'}: this backup cannot be used whole`,
      );
  }
  return manifest;
}
