import type { FailureCode } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const faultsMax = 10;
const openMs = 15_000;
const breakersMax = 256;
// What a model said is no reason to doubt that its endpoint is there: an answer that cannot be read does not count.
const faults: ReadonlySet<FailureCode> = new Set(['unavailable', 'timeout']);
/** Answers of the endpoint itself, so that it is there. `limited` may be our own word. */
const answers: ReadonlySet<FailureCode> = new Set(['invalid', 'unauthorized', 'not-found', 'too-large', 'upstream']);

export type Breaker = {
  /** Why no call may go through now; undefined: one may. */
  refusal(): Failure | undefined;
  /**
   * Makes the call, unless the endpoint has failed too often: then throws `unavailable` at once. `signal`: aborted by who asked.
   * `isOwn`: a fault may be the caller's, who was slow to take the answer.
   */
  run<T>(call: () => Promise<T>, signal?: AbortSignal, isOwn?: () => boolean): Promise<T>;
};

/** A breaker for each endpoint. */
export type Breakers = { of(endpoint: string): Breaker };

/**
 * Holds calls back from an endpoint that failed ten times in a row, so that they go on to another, or wait. After fifteen seconds
 * one call goes through as a probe: its end closes the breaker or opens it anew. `now` gives milliseconds.
 */
export function createBreakers(metrics: Metrics, now = () => Math.round(performance.now())): Breakers {
  const breakers = new Map<string, Breaker>();
  return {
    of(endpoint) {
      const known = breakers.get(endpoint);
      if (known) return known;
      forgetOldest(breakers, metrics);
      const made = createBreaker(endpoint, metrics, now);
      breakers.set(endpoint, made);
      return made;
    },
  };
}

/** Endpoints come and go with models.toml. */
function forgetOldest(breakers: Map<string, Breaker>, metrics: Metrics): void {
  const [oldest] = breakers.size < breakersMax ? [] : breakers.keys();
  if (oldest === undefined) return;
  breakers.delete(oldest);
  metrics.llmBreakerOpen.remove({ provider: oldest });
  metrics.llmBreakerRefused.remove({ provider: oldest });
}

function createBreaker(provider: string, metrics: Metrics, now: () => number): Breaker {
  let inARow = 0;
  let openUntil = 0;
  let probing = false;
  metrics.llmBreakerOpen.set({ provider }, 0);
  metrics.llmBreakerRefused.inc({ provider }, 0);

  const settle = (isFault: boolean) => {
    const wasOpen = openUntil > 0;
    inARow = isFault ? inARow + 1 : 0;
    openUntil = inARow >= faultsMax ? now() + openMs : 0;
    if (wasOpen !== openUntil > 0) metrics.llmBreakerOpen.set({ provider }, openUntil > 0 ? 1 : 0);
  };
  const refusal = () => {
    if (openUntil === 0 || (!probing && now() >= openUntil)) return undefined;
    metrics.llmBreakerRefused.inc({ provider });
    const text = `${provider} has failed ${inARow} times in a row; calls are held back for a while`;
    return new Failure('unavailable', text, { retryAfterMs: Math.max(1_000, openUntil - now()) });
  };
  return {
    refusal,
    async run(call, signal, isOwn = () => false) {
      const refused = refusal();
      if (refused) throw refused;
      const isProbe = openUntil > 0;
      if (isProbe) probing = true;
      try {
        const result = await call();
        settle(false);
        return result;
      } catch (error) {
        // A call that was called off tells nothing of the endpoint.
        if (error instanceof Failure && !signal?.aborted) {
          if (faults.has(error.code)) {
            if (!isOwn()) settle(true);
          } else if (isProbe && answers.has(error.code)) settle(false);
        }
        throw error;
      } finally {
        if (isProbe) probing = false;
      }
    },
  };
}
