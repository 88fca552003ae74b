import { jwtVerify } from 'jose';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';

export const scopes = [
  'agents:read',
  'agents:write',
  'runs:read',
  'runs:write',
  'approvals:write',
  'events:read',
  'usage:read',
  'admin',
] as const;
export type Scope = (typeof scopes)[number];

/** Who asks. `expiresMs`: epoch milliseconds until which the token counts. */
export type Caller = { sub: string; expiresMs: number };

const Claims = z.object({
  sub: z.string().min(1).max(200),
  exp: z.number(),
  scope: z.string().max(2_000).default(''),
});

/**
 * Checks bearer tokens: JWTs signed with HS256, with `sub`, `exp` and `scope` (names with spaces between; `admin` has all).
 * Throws `unauthorized` or `forbidden`, saying which scope is needed.
 */
export function createAuth(secret: string) {
  const key = new TextEncoder().encode(secret);
  return async (authorization: string, scope: Scope): Promise<Caller> => {
    const refuse = (reason: string) =>
      new Failure('unauthorized', `${reason}; this needs a token with the scope "${scope}"`);
    const token = /^Bearer\s+(\S{1,8000})$/i.exec(authorization)?.[1];
    if (!token) throw refuse('there is no "Authorization: Bearer <token>"');
    const payload = await jwtVerify(token, key, { algorithms: ['HS256'], clockTolerance: 5 }).then(
      (verified) => verified.payload,
      (error) => {
        const expired = error instanceof Error && 'code' in error && error.code === 'ERR_JWT_EXPIRED';
        throw refuse(expired ? 'the token has expired' : 'the token is not valid');
      },
    );
    const claims = Claims.safeParse(payload);
    if (!claims.success) {
      const fields = claims.error.issues.map(({ path }) => path.join('.')).join(', ');
      throw refuse(`the token lacks a claim that counts: ${fields}`);
    }
    const held = claims.data.scope.split(' ');
    if (!held.includes(scope) && !held.includes('admin'))
      throw new Failure('forbidden', `the scope "${scope}" is missing from the token`);
    return { sub: claims.data.sub, expiresMs: claims.data.exp * 1000 };
  };
}
export type Auth = ReturnType<typeof createAuth>;

/** Appends on the caller's behalf. */
export const on = (writer: Writer, { sub }: Caller): Writer => ({ ...writer, actor: `user:${sub}` });
