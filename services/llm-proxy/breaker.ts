import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const faultsMax = 10;
const openMs = 15_000;
// What a model said is no reason to doubt that its provider is there: an answer that cannot be read does not count.
const faults: ReadonlySet<unknown> = new Set(['unavailable', 'timeout']);

export type Breaker = {
  /** Makes the call, unless the provider has failed too often: then throws `unavailable` at once. */
  run<T>(call: () => Promise<T>): Promise<T>;
};

/**
 * Holds calls back from a provider that failed ten times in a row, so that runs wait instead of spending their retries. After
 * fifteen seconds one call goes through as a probe: its end closes the breaker or opens it anew. `now` gives milliseconds.
 */
export function createBreaker(provider: string, metrics: Metrics, now: () => number = Date.now): Breaker {
  let inARow = 0;
  let openUntil = 0;
  let probing = false;
  metrics.llmBreakerOpen.set({ provider }, 0);
  metrics.llmBreakerRefused.inc({ provider }, 0);

  const settle = (isFault: boolean) => {
    inARow = isFault ? inARow + 1 : 0;
    openUntil = inARow >= faultsMax ? now() + openMs : 0;
    metrics.llmBreakerOpen.set({ provider }, openUntil > 0 ? 1 : 0);
  };
  const refuse = () => {
    metrics.llmBreakerRefused.inc({ provider });
    const text = `${provider} has failed ${inARow} times in a row; calls are held back for a while`;
    return new Failure('unavailable', text, { retryAfterMs: Math.max(1_000, openUntil - now()) });
  };

  return {
    async run(call) {
      const isProbe = openUntil > 0;
      if (isProbe && (probing || now() < openUntil)) throw refuse();
      probing = isProbe;
      try {
        const result = await call();
        settle(false);
        return result;
      } catch (error) {
        if (error instanceof Failure && faults.has(error.code)) settle(true);
        throw error;
      } finally {
        if (isProbe) probing = false;
      }
    },
  };
}
