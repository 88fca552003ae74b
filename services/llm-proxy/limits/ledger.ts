import type { Bus } from '#shared/bus/bus.ts';
import { getSpending } from '#shared/contracts/store.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Counter } from './counters.ts';
import { amountOf } from './counters.ts';
import { periodOf } from './window.ts';

/** What budgets' counters have spent in their period, in their units, by the ledger; undefined where it cannot be told now. */
export type Ledger = (counters: readonly Counter[], nowMs: number) => Promise<number[] | undefined>;

const waitMs = 2_000;
const againMs = 5_000;
const dayOf = (ms: number) => new Date(ms).toISOString().slice(0, 10);

/** Asks the store, which first reads to the end of the log. While it does not answer, it is asked again every five seconds at most. */
export function createLedger(bus: Bus, logger: Logger, metrics: Metrics): Ledger {
  let notBeforeMs = 0;
  const ask = async (counters: readonly Counter[], nowMs: number) => {
    const minSeq = await bus.lastSeq();
    const spenders = counters.flatMap(({ rule, value }) => {
      if (rule.kind !== 'usd') return [];
      const { fromMs, toMs } = periodOf(rule.per, nowMs);
      return [{ by: rule.by, value, from: dayOf(fromMs), to: dayOf(toMs - 1) }];
    });
    const { usd } = await bus.ask(getSpending, { spenders, minSeq }, { timeoutMs: waitMs });
    return counters.map(({ rule }, at) => amountOf(rule, { tokens: 0, usd: usd[at] ?? 0 }));
  };
  return async (counters, nowMs) => {
    if (performance.now() < notBeforeMs) return undefined;
    try {
      return await ask(counters, nowMs);
    } catch (error) {
      notBeforeMs = performance.now() + againMs;
      metrics.llmBudgetsUnread.inc(counters.length);
      const about = { reason: messageOf(error), budgets: counters.map(({ id }) => id).slice(0, 10) };
      logger.warn(about, 'the store cannot tell what budgets have spent: they count what is spent from now on');
      return undefined;
    }
  };
}
