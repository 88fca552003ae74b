import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SignJWT } from 'jose';
import { Failure } from '#shared/errors.ts';
import { developmentSecret } from '#shared/secrets.ts';
import type { Environment } from '../launch/environment.ts';
import { readSecrets } from '../launch/secrets.ts';

export type TokenTerms = { scope: string; ttl: string; sub: string; workstreams?: readonly string[] | undefined };

/** A token that is signed with JWT_SECRET, or with the secret that `npm start` has made. Throws `unauthorized` where there is neither. */
export function signToken(
  { scope, ttl, sub, workstreams }: TokenTerms,
  environment: Environment,
  data: string | undefined,
): Promise<string> {
  const secret = findSecret(environment, data);
  if (!secret)
    throw new Failure('unauthorized', 'there is no secret to sign with yet: run npm start first, or set JWT_SECRET');
  return new SignJWT({ scope, ...(workstreams ? { workstreams } : {}) })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime(ttl)
    .sign(new TextEncoder().encode(secret));
}

/** What tokens are signed with here; undefined: nothing yet. */
export const findSecret = (environment: Environment, data: string | undefined): string | undefined =>
  environment.JWT_SECRET ??
  secretIn(environment.JWT_SECRET_FILE) ??
  readSecrets(data ?? environment.TOKA_HOME ?? '')?.JWT_SECRET ??
  (/^(true|1|yes|on)$/.test(environment.TOKA_DEV ?? '') ? developmentSecret : undefined);

/** What a file of the environment's NAME_FILE holds; none where it is empty. */
const secretIn = (file: string | undefined): string | undefined =>
  (file && readFileSync(file, 'utf8').trim()) || undefined;

const ownTtlMs = 600_000;

/** What gives the token of each request: TOKA_TOKEN, else one of this program's own, made anew before it ends. */
export function tokenSource(environment: Environment, data: string | undefined): () => string | Promise<string> {
  const given = environment.TOKA_TOKEN ?? secretIn(environment.TOKA_TOKEN_FILE);
  if (given) return () => given;
  let made: { token: Promise<string>; untilMs: number } | undefined;
  return () => {
    if (!made || made.untilMs < Date.now()) {
      const terms = { scope: 'admin', ttl: `${ownTtlMs / 1000}s`, sub: 'toka' };
      made = { token: signToken(terms, environment, data), untilMs: Date.now() + ownTtlMs / 2 };
    }
    return made.token;
  };
}
