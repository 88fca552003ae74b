import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { serviceUsers } from '#shared/bus/users.ts';
import { Failure } from '#shared/errors.ts';

const made = () => randomBytes(36).toString('base64url');
const Secrets = z.object({
  JWT_SECRET: z.string(),
  /** Of the user that may all; the services' own are in NATS_PASSWORDS. */
  NATS_PASSWORD: z.string(),
  REDIS_PASSWORD: z.string(),
  /** Kept since each service has a user of its own; an older file has none. */
  NATS_PASSWORDS: z.record(z.string(), z.string()).default({}),
});
export type Secrets = z.infer<typeof Secrets>;

const fileIn = (home: string) => join(home, 'secrets.json');

/** The secrets of this data folder; they are made at its first start and kept where only its owner reads. */
export function openSecrets(home: string): Secrets {
  const kept = readSecrets(home);
  if (kept && serviceUsers.every((user) => kept.NATS_PASSWORDS[user])) return kept;
  const secrets = {
    ...(kept ?? { JWT_SECRET: made(), NATS_PASSWORD: made(), REDIS_PASSWORD: made() }),
    NATS_PASSWORDS: Object.fromEntries(serviceUsers.map((user) => [user, kept?.NATS_PASSWORDS[user] ?? made()])),
  };
  const partial = `${fileIn(home)}.${process.pid}`;
  writeFileSync(partial, JSON.stringify(secrets, undefined, 2), { mode: 0o600 });
  renameSync(partial, fileIn(home));
  return secrets;
}

export function readSecrets(home: string): Secrets | undefined {
  const file = fileIn(home);
  if (!existsSync(file)) return undefined;
  try {
    return Secrets.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    throw new Failure('invalid', `${file} cannot be read; mend it, or remove it to have new secrets made`);
  }
}
