import { Failure } from '#shared/errors.ts';
import type { Share } from './counters.ts';
import type { Taking } from './shared-counts.ts';

const known = new WeakMap<Failure, Record<string, string>>();

/** Remembers how a limit stands that refused a call, for a client that asks over HTTP. */
export function keepLimitHeaders(
  failure: Failure,
  { counter, limit }: Share,
  { sums, waitMs }: Taking,
  at: number,
): void {
  const { kind } = counter.rule;
  const unit = kind === 'usd' ? 1e6 : 1;
  const left = Math.max(0, limit - (sums[at] ?? limit));
  known.set(failure, {
    [`x-ratelimit-limit-${kind}`]: String(limit / unit),
    [`x-ratelimit-remaining-${kind}`]: String(left / unit),
    [`x-ratelimit-reset-${kind}`]: `${Math.ceil(waitMs / 1_000)}s`,
  });
}

/** Of a failure, or of what it sums up: `x-ratelimit-limit-`, `-remaining-` and `-reset-`, of requests, tokens or usd. */
export function limitHeadersOf(thrown: unknown): Record<string, string> {
  if (!(thrown instanceof Failure)) return {};
  return known.get(thrown) ?? (thrown.cause instanceof Failure ? known.get(thrown.cause) : undefined) ?? {};
}
