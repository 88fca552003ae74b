import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { openBus, openRestorer } from '#shared/bus/bus.ts';
import { Failure } from '#shared/errors.ts';
import type { KeeperConfig } from '#shared/keeper/settings.ts';
import { deliveredSinceOf } from '#shared/keeper/settings.ts';
import { version } from '#shared/version.ts';
import { artifactsIn, copyArchive, extentOf, neededIn } from '../../../services/store/copy.ts';
import type { Admin } from '../launch/admin.ts';
import type { Manifest } from './manifest.ts';
import { hashOf, writeManifest } from './manifest.ts';

/** Where each file of a backup lies; `artifacts/` has one for each hash. */
export const names = {
  archive: 'toka.sqlite',
  checkpoint: 'toka.sqlite.checkpoint',
  checkpointKey: 'checkpoint-key.pem',
  secrets: 'secrets.json',
  artifacts: 'artifacts',
} as const;

type Source = {
  databaseFile: string;
  admin: Admin;
  home: string;
  settings: Pick<KeeperConfig, 'DELIVERABLES_MAX_AGE'>;
};

/** `aged`: artifacts that are no longer kept, as is meant to be; `missing`: those that are needed, and are not there all the same. */
export type Backup = Pick<Manifest, 'seq' | 'chainHead'> & { artifacts: number; aged: number; missing: string[] };

/**
 * Writes all that cannot be made again into an empty folder while everything goes on: what readers of the log have come to, then the
 * archive at one moment, then what its events name and is still kept. So whatever an event of the backup needs is in it.
 */
export async function backUp(folder: string, { databaseFile, admin, home, settings }: Source): Promise<Backup> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (readdirSync(folder).length > 0)
    throw new Failure('conflict', `${folder} is not empty: a backup takes a folder of its own`);
  chmodSync(folder, 0o700);
  const options = { ...admin, name: 'backup', leaseMs: 30_000, replicas: 1 };
  await using log = await openRestorer(options);
  await using bus = await openBus({ ...options, declares: false }, () => undefined);
  const positions = await log.positions();
  const archive = join(folder, names.archive);
  copyArchive(databaseFile, archive);
  sync(archive);
  const extent = await extentOf(archive);
  const beside = dirname(databaseFile);
  keep(join(beside, names.checkpointKey), join(folder, names.checkpointKey));
  keep(`${databaseFile}.checkpoint`, join(folder, names.checkpoint));
  keep(join(home, names.secrets), join(folder, names.secrets));

  mkdirSync(join(folder, names.artifacts), { mode: 0o700 });
  const absent: string[] = [];
  let artifacts = 0;
  for (const sha256 of artifactsIn(archive)) {
    const bytes = await bus.artifacts.get({ sha256, bytes: 0 }).catch((error) => {
      if (error instanceof Failure && error.code === 'gone') return undefined;
      throw error;
    });
    if (bytes) writeFileSync(join(folder, names.artifacts, sha256), bytes, { mode: 0o600, flush: true });
    else absent.push(sha256);
    artifacts += bytes ? 1 : 0;
  }
  const { firstSeq } = await bus.logSight();
  const deliveredSince = deliveredSinceOf(settings, Date.now());
  const missing = neededIn(archive, { hashes: absent, firstSeq, deliveredSince });
  writeManifest(folder, {
    ...{ format: 1, time: new Date().toISOString(), version, ...extent },
    ...{ log: await log.rules(), positions, files: await filesIn(folder) },
  });
  return { ...extent, artifacts, aged: absent.length - missing.length, missing };
}

function keep(from: string, to: string): void {
  if (!existsSync(from)) return;
  copyFileSync(from, to);
  sync(to);
}

function sync(file: string): void {
  chmodSync(file, 0o600);
  const open = openSync(file, 'r');
  fsyncSync(open);
  closeSync(open);
}

async function filesIn(folder: string): Promise<Manifest['files']> {
  const files: Manifest['files'] = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[path.slice(folder.length).replace(/^\/+/, '')] = await hashOf(path);
  }
  return files;
}
