import type { Context } from 'koa';
import type { Scope } from '#shared/contracts/api/endpoint.ts';
import { Failure } from '#shared/errors.ts';
import type { Auth, Caller } from './auth.ts';
import type { CheckHost } from './hosts.ts';
import { addressOf, createQuota } from './quota.ts';

const failuresMax = 60;
const failuresMs = 60_000;
const nobody: Caller = { sub: 'nobody', client: '', expiresMs: Number.POSITIVE_INFINITY };

/** Lets a request in, before anything of its body is read. Throws `unauthorized`, `forbidden`, `limited` or `misdirected`. */
export type Admit = (ctx: Context, scope: Scope | null) => Promise<Caller>;

type AdmitOptions = {
  /** Requests of each client in a window; 0: as many as they like. */
  limit: number;
  windowMs: number;
  checkHost: CheckHost;
  /** Anyone can make tokens: they keep no web page out. */
  areTokensKnown: boolean;
};

/**
 * Whoever has a good token has a quota by its name, whoever needs none by their address. Tokens that are no good are counted by address, too:
 * who tries many is told to wait, and does not fill the log with refusals. A good token is never held up by others' bad ones.
 */
export function createAdmit(auth: Auth, { limit, windowMs, checkHost, areTokensKnown }: AdmitOptions): Admit {
  const quota = createQuota('client', limit, windowMs);
  const failures = createQuota('refused', limit === 0 ? 0 : failuresMax, failuresMs);
  return async (ctx, scope) => {
    if (scope === null || areTokensKnown) checkHost(ctx);
    if (scope === null) {
      quota.take(ctx, `address ${addressOf(ctx)}`);
      return nobody;
    }
    const known = (caller: Caller) => {
      ctx.state.caller = caller;
      quota.take(ctx, `caller ${caller.client}`);
    };
    return auth(ctx.get('authorization'), scope, known).catch((error) => {
      if (error instanceof Failure && error.code === 'unauthorized') failures.take(ctx, addressOf(ctx));
      throw error;
    });
  };
}
