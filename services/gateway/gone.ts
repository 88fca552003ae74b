import type { Context } from 'koa';

/** Aborted once whoever asks has left, be it before this is called: what stays open for them must not outlive them. */
export function goneSignal({ res }: Context): AbortSignal {
  const gone = new AbortController();
  if (res.closed) gone.abort();
  else res.once('close', () => gone.abort());
  return gone.signal;
}
