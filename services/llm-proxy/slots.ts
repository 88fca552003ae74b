import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

/** Room for so many calls at a time as LLM_CONCURRENCY says, however they came. */
export type Slots = {
  /** Takes one; throws `code` where all are taken. */
  enter(code: 'limited' | 'unavailable'): void;
  leave(): void;
};

export function createSlots(max: number, metrics: Metrics): Slots {
  let active = 0;
  metrics.llmConcurrency.set(max);
  return {
    enter(code) {
      if (active >= max) {
        const busy = `LLM_CONCURRENCY is reached: ${max} model calls at a time`;
        throw new Failure(code, busy, { retryAfterMs: 1_000 });
      }
      metrics.llmActive.set(++active);
    },
    leave: () => metrics.llmActive.set(--active),
  };
}
