import type { FailureCode } from '#shared/errors.ts';
import { Failure } from '#shared/errors.ts';

const backoffMs = 250;
const backoffMsMax = 8_000;
/** A longer wait at one endpoint is not worth it while another has not been asked. */
const patienceMs = 2_000;

export type Circumstances = {
  /** How often this target was tried again already, and how often it may be. */
  retries: number;
  retriesMax: number;
  /** Whether its answer had begun. */
  began: boolean;
  /** Whether there is another target to go on to. */
  more: boolean;
  /** Until the call must end. */
  leftMs: number;
  /** In [0, 1). */
  random: number;
};

export type Verdict = { step: 'stop' } | { step: 'next' } | { step: 'again'; afterMs: number };

const stop = { step: 'stop' } as const;
const next = { step: 'next' } as const;
/** Another key or another model may do where these say no. */
const movable: ReadonlySet<FailureCode> = new Set(['unauthorized', 'not-found']);

/**
 * What to do after a failure of which the caller has seen nothing: try the same target again, go on to the next, or give up.
 * Retry-After is a floor: within it the same target is never asked.
 */
export function judge(failure: unknown, now: Circumstances): Verdict {
  if (!(failure instanceof Failure)) return stop;
  if (movable.has(failure.code)) return next;
  const retries = retriesFor(failure.code, now);
  if (retries === undefined) return stop;
  const floorMs = failure.retryAfterMs ?? 0;
  const ceilingMs = Math.min(backoffMsMax, backoffMs * 2 ** now.retries);
  const afterMs = Math.round(floorMs > 0 ? floorMs + backoffMs * now.random : ceilingMs * now.random);
  if (now.retries >= retries || afterMs >= now.leftMs) return next;
  return now.more && floorMs > patienceMs ? next : { step: 'again', afterMs };
}

/** How often the same target may be tried again; undefined: nothing more may be tried at all. */
function retriesFor(code: FailureCode, { retriesMax, began }: Circumstances): number | undefined {
  switch (code) {
    case 'unavailable':
    case 'limited':
      return retriesMax;
    case 'timeout':
      // What began and did not end in time was paid for, and took all there was.
      return began ? undefined : retriesMax;
    case 'upstream':
      return Math.min(1, retriesMax);
    default:
      return undefined;
  }
}

/** What says more of why nobody answered comes later; what may pass counts for more than what will not. */
const weights: readonly FailureCode[] = ['not-found', 'unauthorized', 'upstream', 'timeout', 'unavailable', 'limited'];

/** How a target failed: at which endpoint for which model, and whether its breaker spoke for it. */
export type Failed = { failure: Failure; at: string; refused: boolean };

const weightOf = ({ failure, refused }: Failed) => (refused ? -1 : weights.indexOf(failure.code));

/** The failure to tell of: that of the one target, else the most telling, with whom was asked. */
export function summarize(failures: readonly Failed[]): Failure {
  const [first] = failures;
  if (!first) return new Failure('unavailable', 'there is nobody to ask');
  if (failures.length === 1) return first.failure;
  const most = failures.reduce((best, each) => (weightOf(each) >= weightOf(best) ? each : best));
  const { code, message } = most.failure;
  const waits = failures.flatMap(({ failure }) => failure.retryAfterMs ?? []);
  const text = `${message} (${failures.length} targets were tried: ${failures.map(({ at }) => at).join(', ')})`;
  return new Failure(code, text, {
    cause: most.failure,
    ...(waits.length > 0 && (code === 'limited' || code === 'unavailable') ? { retryAfterMs: Math.min(...waits) } : {}),
  });
}

/** A provider that answers with an error does not charge; one that was cut off or that is too slow may. */
export const mayHaveCost = (failure: unknown): boolean =>
  !(failure instanceof Failure) || failure.code === 'upstream' || failure.code === 'timeout';
