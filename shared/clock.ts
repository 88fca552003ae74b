/**
 * Whole epoch milliseconds that go on evenly from now on, whatever is done to the system's clock: for how long something has taken. What
 * is to be done at a time of day goes by `Date.now()`.
 */
export function steadyClock(): () => number {
  const startMs = Date.now() - performance.now();
  return () => Math.round(startMs + performance.now());
}
