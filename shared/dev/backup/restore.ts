import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openBus, openRestorer } from '#shared/bus/bus.ts';
import { Failure } from '#shared/errors.ts';
import { extentOf } from '../../../services/store/copy.ts';
import { mendLog } from '../../../services/store/mend-log.ts';
import { openReader } from '../../../services/store/reader.ts';
import type { Admin } from '../launch/admin.ts';
import { names } from './backup.ts';
import type { Manifest } from './manifest.ts';
import { readManifest } from './manifest.ts';

type Target = { databaseFile: string; admin: Admin; replicas: number };

/**
 * Puts a backup into a system that holds nothing yet, and of which no service runs: artifacts first, then every event at its sequence, then
 * the archive. Begun anew after a failure it goes on, for the archive's file is put in place last.
 */
export async function restore(folder: string, { databaseFile, admin, replicas }: Target): Promise<Manifest> {
  const manifest = await readManifest(folder);
  if (existsSync(databaseFile))
    throw new Failure(
      'conflict',
      `there is an archive already: ${databaseFile}. A backup goes into an empty system; move that away first`,
    );
  const options = { ...admin, name: 'restore', leaseMs: 30_000, replicas };
  await using bus = await openBus(options, () => undefined);
  await using log = await openRestorer(options);
  for (const name of Object.keys(manifest.files).filter((each) => each.startsWith(`${names.artifacts}/`)))
    await bus.artifacts.put(readFileSync(join(folder, name)));
  await refill(folder, log, manifest.log);
  for (const { name, text } of manifest.positions) await bus.positions.put(name, JSON.parse(text));
  place(folder, databaseFile);
  const { seq, chainHead } = await extentOf(databaseFile);
  if (seq !== manifest.seq || chainHead !== manifest.chainHead)
    throw new Failure('conflict', `the archive ends with event ${seq} of another chain than the manifest says`);
  return manifest;
}

async function refill(folder: string, log: Awaited<ReturnType<typeof openRestorer>>, rules: string): Promise<void> {
  using archive = openReader(join(folder, names.archive));
  if (!archive) throw new Failure('invalid', `${folder} holds no archive`);
  const { lastSeq } = await log.logSight();
  // One that holds nothing is filled; one that a restore has begun goes on; any other is refused.
  if (lastSeq > 0) await mendLog(archive, log, 'fill', join(folder, 'tail'));
  else await log.fill((from, limit) => archive.rows(from, limit));
  await log.begin(rules);
}

function place(folder: string, databaseFile: string): void {
  const beside = dirname(databaseFile);
  mkdirSync(beside, { recursive: true, mode: 0o700 });
  const copy = (name: string, to: string) => {
    if (!existsSync(join(folder, name))) return;
    copyFileSync(join(folder, name), to);
    chmodSync(to, 0o600);
  };
  copy(names.checkpointKey, join(beside, names.checkpointKey));
  copy(names.checkpoint, `${databaseFile}.checkpoint`);
  copy(names.archive, databaseFile);
}
