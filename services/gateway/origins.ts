import cors from '@koa/cors';
import { z } from 'zod';

const isOrigin = (text: string) => URL.canParse(text) && new URL(text).origin === text;

/** Web pages by their origins, with commas between. */
export const Origins = z
  .string()
  .transform((text) => text.split(',').map((each) => each.trim()))
  .refine(
    (origins) => origins.every(isOrigin),
    'must be origins such as "https://console.example.com,http://localhost:5173"',
  );

const hourSeconds = 3_600;
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'];
/** What a page's script may send, beside what any may. */
const sent = [
  ...['Authorization', 'Content-Type', 'If-Match', 'Idempotency-Key', 'Prefer', 'Last-Event-ID', 'X-Request-Id'],
  ...['traceparent', 'tracestate'],
];
/** What it may read of an answer. */
const read = [
  ...['ETag', 'Location', 'Preference-Applied', 'RateLimit', 'RateLimit-Policy', 'Retry-After', 'Toka-Seq'],
  ...['WWW-Authenticate', 'X-Request-Id'],
];

/** Lets scripts of pages of these origins ask. Without cookies: who they ask for shows the token alone. */
export const allowOrigins = (origins: readonly string[]) => {
  const known = new Set(origins);
  return cors({
    origin: (ctx) => (known.has(ctx.get('Origin')) ? ctx.get('Origin') : ''),
    allowMethods: methods,
    allowHeaders: sent,
    exposeHeaders: read,
    maxAge: hourSeconds,
  });
};
