import type { Metrics } from '#shared/metrics.ts';
import type { Share } from './counters.ts';
import type { Taking } from './shared-counts.ts';

/** Shows what is left of RATE_LIMIT_REQUESTS, where least is. */
export type ShowLeft = {
  note(shares: readonly Share[], taking: Pick<Taking, 'sums'>): void;
};

export function createShowLeft(metrics: Metrics): ShowLeft {
  const left = new Map<string, number>();
  return {
    note(shares, { sums }) {
      for (const [at, { counter, limit }] of shares.entries()) {
        if (counter.rule.setting !== 'RATE_LIMIT_REQUESTS') continue;
        left.set(counter.id, Math.max(0, limit - (sums[at] ?? 0)));
        metrics.llmRateLimit.set(limit);
        metrics.llmRateRemaining.set(Math.min(...left.values()));
      }
    },
  };
}
