import type { Bus } from '#shared/bus/bus.ts';
import type { SchedulingView } from '#shared/contracts/scheduling.ts';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { Failure } from '#shared/errors.ts';

const keptMs = 500;
const askMs = 1_000;
const retryAfterMs = 5_000;

/** Throws `limited` while more runs than may wait for a runner. */
export type Backlog = { check(): Promise<void> };

/** Asks the scheduler, twice a second at most. While that is away nothing is refused: what is queued is on the log all the same. */
export function watchBacklog(bus: Bus, max: number): Backlog {
  let known: { asked: Promise<SchedulingView | null>; atMs: number } | undefined;
  return {
    async check() {
      const nowMs = performance.now();
      if (!known || nowMs - known.atMs > keptMs)
        known = { asked: bus.ask(getScheduling, {}, { timeoutMs: askMs }).catch(() => null), atMs: nowMs };
      const view = await known.asked;
      if (!view || view.backlog < max) return;
      throw new Failure(
        'limited',
        `${view.backlog} runs wait for a runner, and no more than ${max} may (BACKLOG_MAX); ${view.slots === 0 ? 'no runner is up' : 'try again later, or add runners'}`,
        { retryAfterMs },
      );
    },
  };
}
