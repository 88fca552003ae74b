import { z } from 'zod';
import type { Scope } from '#shared/contracts/api/endpoint.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import type { Trace } from '#shared/trace.ts';
import type { Revocations } from './revocations.ts';
import { tokenIdOf } from './revocations.ts';
import type { TokenOptions } from './tokens.ts';
import { createVerifier } from './tokens.ts';

/**
 * Who asks. `client`: issuer, workstreams and name together, which is whose share of anything is used: one issuer's or tenant's "ci" is not
 * another's. `expiresMs`: epoch milliseconds until which the token counts. `workstreams`: those that the token is limited to; undefined: none
 * is kept from it. `trace`: which they ask in.
 */
export type Caller = {
  sub: string;
  client: string;
  expiresMs: number;
  /** What the log calls the token, where it has a `jti`. */
  tokenId?: string | undefined;
  workstreams?: readonly string[] | undefined;
  trace?: Trace | undefined;
};

const Claims = z.object({
  sub: z
    .string()
    .min(1)
    .max(200)
    .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u),
  iss: z.string().max(1_000).optional(),
  jti: z.string().min(1).max(200).optional(),
  exp: z.number(),
  scope: z.string().max(2_000).default(''),
  workstreams: z.array(z.string().min(1).max(100)).max(100).optional(),
});

/**
 * Checks bearer tokens: JWTs with `sub`, `exp` and `scope` (names with spaces between; `admin` has all), and `workstreams` where they are
 * limited to some. Throws `unauthorized` or `forbidden`, saying which scope is needed. `known` hears whose token it is.
 */
export function createAuth(options: TokenOptions, revocations: Pick<Revocations, 'has'>) {
  const verify = createVerifier(options);
  return async (authorization: string, scope: Scope, known: (caller: Caller) => void): Promise<Caller> => {
    const refuse = (reason: string) =>
      new Failure('unauthorized', `${reason}; this needs a token with the scope "${scope}"`);
    const token = /^Bearer\s+(\S{1,8000})$/i.exec(authorization)?.[1];
    if (!token) throw refuse('there is no "Authorization: Bearer <token>"');
    const payload = await verify(token).catch((error) => {
      if (error instanceof Failure) throw error;
      const expired = error instanceof Error && 'code' in error && error.code === 'ERR_JWT_EXPIRED';
      throw refuse(expired ? 'the token has expired' : 'the token is not valid');
    });
    const claims = Claims.safeParse(payload);
    if (!claims.success) {
      const fields = claims.error.issues.map(({ path }) => path[0]).join(', ');
      throw refuse(`the token lacks a claim that counts: ${fields}`);
    }
    const { sub, iss = null, jti, exp, workstreams } = claims.data;
    const tokenId = jti === undefined ? undefined : tokenIdOf(iss, jti);
    if (tokenId !== undefined && revocations.has(tokenId)) throw refuse('the token was revoked');
    const client = JSON.stringify([iss, workstreams?.toSorted() ?? null, sub]);
    const caller = { sub, client, expiresMs: exp * 1000, tokenId, workstreams };
    known(caller);
    const held = claims.data.scope.split(' ');
    if (!held.includes(scope) && !held.includes('admin'))
      throw new Failure('forbidden', `the scope "${scope}" is missing from the token`);
    return caller;
  };
}
export type Auth = ReturnType<typeof createAuth>;

export const actorOf = ({ sub }: Pick<Caller, 'sub'>) => `user:${sub}`;

/** Appends on the caller's behalf. */
export const on = (writer: Writer, caller: Caller): Writer => ({
  ...writer,
  actor: actorOf(caller),
  trace: caller.trace,
});
