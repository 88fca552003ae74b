import { randomUUID } from 'node:crypto';
import type { Context, Next } from 'koa';

/** What a request is known by, in its answer and in the log: as the client says, or a new one. */
export function nameRequest(ctx: Context, next: Next): Promise<void> {
  const told = ctx.get('x-request-id');
  ctx.state.requestId = /^[A-Za-z0-9._-]{1,128}$/.test(told) ? told : randomUUID();
  ctx.set('X-Request-Id', ctx.state.requestId);
  return next();
}
