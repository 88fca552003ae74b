import { Readable } from 'node:stream';
import type { Context, Next } from 'koa';
import compress from 'koa-compress';

const bytesMin = 2_048;

/** Compresses large answers for who takes it. Not an event stream: each event has to be out at once, so that says "no-transform". */
export function compressAnswers() {
  const compressed = compress({ threshold: bytesMin, br: {}, gzip: {}, zstd: false, deflate: false });
  return async (ctx: Context, next: Next) => {
    // Who would have neither what we have nor the plain answer gets that: a refusal would have to be written in something, too.
    if (ctx.acceptsEncodings('br', 'gzip', 'identity') === false) ctx.compress = false;
    await compressed(ctx, next);
    // To HEAD it would tell a length that GET's answer does not have.
    if (
      ctx.method === 'HEAD' &&
      ctx.length >= bytesMin &&
      ctx.acceptsEncodings('identity', 'br', 'gzip') !== 'identity'
    )
      ctx.body = Readable.from([]);
  };
}
