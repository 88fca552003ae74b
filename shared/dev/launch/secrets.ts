import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';

const made = () => randomBytes(36).toString('base64url');
const Secrets = z.object({ JWT_SECRET: z.string(), NATS_PASSWORD: z.string(), REDIS_PASSWORD: z.string() });
export type Secrets = z.infer<typeof Secrets>;

const fileIn = (home: string) => join(home, 'secrets.json');

/** The secrets of this data folder; they are made at its first start and kept where only its owner reads. */
export function openSecrets(home: string): Secrets {
  const kept = readSecrets(home);
  if (kept) return kept;
  const secrets = { JWT_SECRET: made(), NATS_PASSWORD: made(), REDIS_PASSWORD: made() };
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
