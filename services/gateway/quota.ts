import { isIPv6 } from 'node:net';
import type { Context } from 'koa';
import { LRUCache } from 'lru-cache';
import { Failure } from '#shared/errors.ts';

const clientsMax = 20_000;

/** How often each client may ask. It fills again steadily: whoever has used it up waits for one, not for all of it. */
export type Quota = {
  /** Takes one of `client`'s. Throws `limited` where none is left; either way the answer's RateLimit headers say how it stands. */
  take(ctx: Context, client: string): void;
};

/** `limit` requests for each client in any `windowMs`; 0: as many as they like. */
export function createQuota(name: string, limit: number, windowMs: number): Quota {
  if (limit === 0) return { take: () => undefined };
  const eachMs = windowMs / limit;
  /** When each client's quota is full again (the generic cell rate algorithm): one number is all that is kept. */
  const fullAt = new LRUCache<string, number>({ max: clientsMax });
  return {
    take(ctx, client) {
      const nowMs = performance.now();
      const used = Math.max(fullAt.get(client) ?? 0, nowMs) - nowMs;
      const isLeft = used + eachMs <= windowMs;
      const after = isLeft ? used + eachMs : used;
      if (isLeft) fullAt.set(client, nowMs + after);
      ctx.set('RateLimit-Policy', `"${name}";q=${limit};w=${Math.ceil(windowMs / 1000)}`);
      ctx.set('RateLimit', `"${name}";r=${Math.floor((windowMs - after) / eachMs)};t=${Math.ceil(after / 1000)}`);
      if (isLeft) return;
      const retryAfterMs = used + eachMs - windowMs;
      throw new Failure('limited', `more than ${limit} requests in ${windowMs / 1000} s`, { retryAfterMs });
    },
  };
}

/** Who asks without a token. One of IPv6 has a whole /64 to itself as a rule. */
export function addressOf(ctx: Context): string {
  const address = ctx.req.socket.remoteAddress ?? '';
  if (!isIPv6(address) || address.startsWith('::ffff:')) return address;
  return address.split(':').slice(0, 4).join(':');
}
