const retryAfterMsMax = 3_600_000;

/** Milliseconds from `retry-after-ms`, or from `retry-after` in seconds or as a date. `nowMs` is epoch milliseconds. */
export function readRetryAfter(headers: Headers | undefined, nowMs: number): number | undefined {
  const value = headers?.get('retry-after');
  const candidates = [
    Number(headers?.get('retry-after-ms') ?? Number.NaN),
    Number(value ?? Number.NaN) * 1_000,
    Date.parse(value ?? '') - nowMs,
  ];
  const ms = candidates.find(Number.isFinite);
  return ms === undefined ? undefined : Math.ceil(Math.min(Math.max(ms, 0), retryAfterMsMax));
}
