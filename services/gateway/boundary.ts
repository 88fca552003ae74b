import { STATUS_CODES } from 'node:http';
import type { Context, Next } from 'koa';
import { Failure, statusOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { scrub } from '#shared/secrets.ts';

/** Hears of each request that was refused for its token. */
export type Denied = (ctx: Context, failure: Failure) => void;

/** As helmet has them, for an API that shows nothing by itself: whoever serves a page says what that may do. */
const protection = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Origin-Agent-Cluster': '?1',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-DNS-Prefetch-Control': 'off',
  'X-Frame-Options': 'DENY',
  'X-Permitted-Cross-Domain-Policies': 'none',
};
const yearSeconds = 31_536_000;
const headersMax = 100;

/** Every error becomes problem details (RFC 9457); what is no Failure is a bug, told to the log alone. */
export function boundary(logger: Logger, denied: Denied) {
  return async (ctx: Context, next: Next) => {
    ctx.set({ ...protection, 'Cache-Control': 'no-store' });
    if (ctx.secure) ctx.set('Strict-Transport-Security', `max-age=${yearSeconds}`);
    try {
      if (ctx.req.rawHeaders.length > 2 * headersMax)
        throw new Failure('invalid', `the request has more than ${headersMax} headers`);
      await next();
    } catch (error) {
      if (!(error instanceof Failure))
        logger.error({ err: error, path: ctx.path, requestId: ctx.state.requestId }, 'a bug: a request failed');
      const failure = error instanceof Failure ? error : new Failure('internal', 'an internal error; it is in the log');
      answer(ctx, failure);
      if (failure.code === 'unauthorized' || failure.code === 'forbidden') {
        ctx.set('WWW-Authenticate', challenge(ctx, failure));
        denied(ctx, failure);
      }
    }
  };
}

function answer(ctx: Context, { code, message, problems, retryAfterMs }: Failure): void {
  ctx.status = statusOf[code];
  if (code === 'too-large') ctx.set('Connection', 'close');
  if (retryAfterMs !== undefined || code === 'unavailable' || code === 'limited')
    ctx.set('Retry-After', String(Math.ceil((retryAfterMs ?? 1_000) / 1000)));
  ctx.body = JSON.stringify({
    type: 'about:blank',
    title: STATUS_CODES[ctx.status],
    status: ctx.status,
    detail: scrub(message),
    code,
    errors: problems?.map(({ field, message }) => ({ field, message })),
  });
  ctx.type = 'application/problem+json';
}

/** RFC 6750, section 3: whoever sent no token is told no error, only what is needed. */
function challenge(ctx: Context, { code }: Failure): string {
  const error = code === 'forbidden' ? 'insufficient_scope' : ctx.get('authorization') && 'invalid_token';
  return `Bearer realm="toka", scope="${ctx.state.scope}"${error ? `, error="${error}"` : ''}`;
}
