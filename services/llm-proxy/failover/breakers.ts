import type { FailureCode } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

const faultsMax = 10;
const openMs = 15_000;
const breakersMax = 256;
const causeCharsMax = 300;
// What a model said is no reason to doubt that its endpoint is there: an answer that cannot be read does not count.
const faults: ReadonlySet<FailureCode> = new Set(['unavailable', 'timeout']);
/** Answers of the endpoint itself, so that it is there. `limited` may be our own word. */
const answers: ReadonlySet<FailureCode> = new Set([
  ...(['invalid', 'unauthorized', 'unpaid', 'not-found', 'too-large', 'upstream'] as const),
]);

export type Breaker = {
  /** Why no call may go through now; undefined: one may. */
  refusal(): Failure | undefined;
  /** Lets one call through, with all of its tries, where nothing speaks against it. */
  enter(): Pass;
};

/** A call at the endpoint. It succeeds, fails, or tells nothing of the endpoint; then it ends. */
export type Pass = {
  /** Whether the call may be tried again, as far as the others' calls show. */
  mayGoOn(): boolean;
  succeed(): void;
  /** `request`: a name of what was asked, the same when that comes again. */
  fail(thrown: unknown, request?: () => string): void;
  end(): void;
};

/** A breaker for each endpoint. */
export type Breakers = { of(endpoint: string): Breaker };

/**
 * Holds calls back from an endpoint at which ten of them failed in a row, so that they go on to another, or wait. A request that fails again
 * counts once: it may be the one thing that the endpoint cannot do. After fifteen seconds one call goes through as a probe: its end closes
 * the breaker or opens it anew. `now` gives milliseconds.
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
  /** The requests that failed in a row: as many as the faults, at most. */
  const failed = new Set<string>();
  let unnamed = 0;
  let cause = '';
  let openUntil = 0;
  let probing = false;
  metrics.llmBreakerOpen.set({ provider }, 0);
  metrics.llmBreakerRefused.inc({ provider }, 0);

  const inARow = () => failed.size + unnamed;
  const show = (wasOpen: boolean) => {
    if (wasOpen !== openUntil > 0) metrics.llmBreakerOpen.set({ provider }, openUntil > 0 ? 1 : 0);
  };
  const close = () => {
    const wasOpen = openUntil > 0;
    failed.clear();
    unnamed = 0;
    openUntil = 0;
    show(wasOpen);
  };
  const blame = (request: string) => {
    const wasOpen = openUntil > 0;
    if (request === '') unnamed = Math.min(unnamed + 1, faultsMax);
    else if (failed.size < faultsMax) failed.add(request);
    if (inARow() >= faultsMax) openUntil = now() + openMs;
    show(wasOpen);
  };
  const isShut = () => openUntil > 0 && (probing || now() < openUntil);
  return {
    refusal() {
      if (!isShut()) return undefined;
      metrics.llmBreakerRefused.inc({ provider });
      const text = `${provider} has failed ${inARow()} times in a row; calls are held back for a while. The last time: ${cause}`;
      return new Failure('held-back', text, { retryAfterMs: Math.max(1_000, openUntil - now()) });
    },
    enter() {
      const isProbe = openUntil > 0;
      if (isProbe) probing = true;
      return {
        mayGoOn: () => isProbe || !isShut(),
        succeed: close,
        fail(thrown, request = () => '') {
          if (!(thrown instanceof Failure)) return;
          if (faults.has(thrown.code)) {
            cause = thrown.message.slice(0, causeCharsMax);
            blame(request());
          } else if (isProbe && answers.has(thrown.code)) close();
        },
        end() {
          if (isProbe) probing = false;
        },
      };
    },
  };
}
