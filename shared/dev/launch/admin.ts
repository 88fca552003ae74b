import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { adminUser } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';
import { readSecret } from '#shared/settings.ts';
import type { Environment } from './environment.ts';
import { answers } from './ports.ts';
import { readSecrets } from './secrets.ts';

/** Where NATS is, and who may all there. */
export type Admin = { url: string; user?: string | undefined; password?: string | undefined };

/** As the settings say, or as `npm start` keeps it in its data folder. Throws `not-found` where there is neither. */
export async function findAdmin(environment: Environment, home: string): Promise<Admin> {
  const { NATS_URL: url, NATS_USER: user = adminUser } = environment;
  const password = readSecret(environment, 'NATS_PASSWORD');
  if (url) return { url, ...(password === undefined ? {} : { user, password }) };
  const file = join(resolve(home), 'nats.conf');
  const address = existsSync(file) ? /^listen: "([^"]+)"/m.exec(readFileSync(file, 'utf8'))?.[1] : undefined;
  const kept = readSecrets(resolve(home));
  if (!address || !kept)
    throw new Failure(
      'not-found',
      `npm start has not yet kept anything in ${resolve(home)}; for another NATS set NATS_URL`,
    );
  if (!(await answers(Number(address.split(':').at(-1)))))
    throw new Failure(
      'unavailable',
      `nats-server does not answer at ${address}: is npm start running on ${resolve(home)}?`,
    );
  return { url: `nats://${address}`, user: adminUser, password: kept.NATS_PASSWORD };
}

/** The archive's file, likewise. */
export const databaseIn = (environment: Environment, home: string): string =>
  environment.DATABASE_FILE ?? join(resolve(home), 'store', 'toka.sqlite');
