import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { Passwords } from '#shared/bus/users.ts';
import { adminUser } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import { KeeperConfig } from '#shared/keeper/settings.ts';
import { readSettings } from '#shared/settings.ts';
import { backUp, names } from '../backup/backup.ts';
import { readManifest } from '../backup/manifest.ts';
import { restore } from '../backup/restore.ts';
import type { Admin } from '../launch/admin.ts';
import { databaseIn, findAdmin } from '../launch/admin.ts';
import type { Environment } from '../launch/environment.ts';
import { openHome } from '../launch/home.ts';
import { openSecrets } from '../launch/secrets.ts';
import { startNats } from '../launch/servers.ts';
import { shellOf } from './shell.ts';

const inStack = `
In the stack, with a folder that user 10001 may write to, and for a restore with no service but nats running:
  docker compose run --rm -v "$PWD/backup:/backup" set-up-nats node shared/dev/toka.ts backup /backup/today
  docker compose run --rm -v "$PWD/backup:/backup" set-up-nats node shared/dev/toka.ts restore /backup/today
What .env and its secrets hold is yours to keep.`;

export function addBackup(program: Command): void {
  program
    .command('backup <dir>')
    .description(
      'Copy all that cannot be made again into an empty folder, while everything goes on: events, artifacts, keys',
    )
    .addHelpText('after', `${inStack}\n\nExample:\n  toka backup /mnt/backup/$(date +%F)`)
    .action(async (dir: string, _, command: Command) => {
      const { environment, home, output } = placeOf(command);
      const settings = artifactSettings(environment);
      const admin = await findAdmin(environment, home);
      const source = { databaseFile: databaseIn(environment, home), admin, home, settings };
      const { seq, chainHead, artifacts, aged, missing } = await backUp(resolve(dir), source);
      output.one(
        { dir: resolve(dir), seq, chainHead, artifacts, aged, missing },
        {
          backup: ({ dir }) => dir,
          'up to event': ({ seq }) => seq,
          'chain head': ({ chainHead }) => chainHead,
          artifacts: ({ artifacts }) => artifacts,
          'no longer kept': ({ aged }) => aged,
          'needed and missing': ({ missing }) => missing.join(', '),
        },
      );
    });
  program
    .command('restore <dir>')
    .description('Put a backup into a system that holds nothing yet; what was running goes on at its next start')
    .addHelpText('after', `${inStack}\n\nExample:\n  toka restore /mnt/backup/2026-01-31 && npm start`)
    .action(async (dir: string, _, command: Command) => {
      const { environment, home, output } = placeOf(command);
      const replicas = Number(environment.NATS_REPLICAS ?? 1);
      const into = (admin: Admin) =>
        restore(resolve(dir), { databaseFile: databaseIn(environment, home), admin, replicas });
      const { seq, chainHead } = environment.NATS_URL
        ? await into(await findAdmin(environment, home))
        : await withOwnNats(resolve(dir), home, into);
      output.one({ seq, chainHead }, { 'up to event': (each) => each.seq, 'chain head': (each) => each.chainHead });
    });
}

function placeOf(command: Command): {
  environment: Environment;
  home: string;
  output: ReturnType<typeof shellOf>['output'];
} {
  const { environment, data, output } = shellOf(command);
  return { environment, home: resolve(data ?? environment.TOKA_HOME ?? '.toka'), output };
}

/** What is there is backed up even where the agents' file cannot be read. */
function artifactSettings(environment: Environment): KeeperConfig {
  const { CONFIG_FILE = 'config/agents.toml' } = environment;
  const isRead = !readAgentsFile(CONFIG_FILE).fatal;
  return readSettings(KeeperConfig, { ...environment, CONFIG_FILE: isRead ? CONFIG_FILE : '' });
}

/** On a data folder of `npm start` that is new: with the backup's secrets, and a nats-server for as long as it takes. */
async function withOwnNats<T>(dir: string, home: string, work: (admin: Admin) => Promise<T>): Promise<T> {
  await readManifest(dir); // before anything is made
  if (existsSync(join(home, 'store', names.archive)))
    throw new Failure(
      'conflict',
      `${home} holds data already. A backup goes into an empty folder: --data DIR, or move that away first`,
    );
  mkdirSync(home, { recursive: true, mode: 0o700 });
  using taken = await openHome(home, () => undefined);
  const secrets = join(home, names.secrets);
  if (existsSync(join(dir, names.secrets)) && !existsSync(secrets)) copyFileSync(join(dir, names.secrets), secrets);
  const { NATS_PASSWORD: password, NATS_PASSWORDS } = openSecrets(home);
  const passwords = { ...NATS_PASSWORDS, [adminUser]: password } as Passwords;
  await using nats = await startNats(taken, { passwords, port: undefined, sync: true }, () => undefined);
  return await work({ url: nats.url, user: adminUser, password });
}
