import type { Bus } from '#shared/bus/bus.ts';
import type { RawEvent } from '#shared/bus/log-event.ts';
import type { Run } from '#shared/domain/run.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Context } from '#shared/service.ts';
import type { Bell } from './bell.ts';
import { passOver } from './board.ts';
import type { Scheduler } from './scheduler.ts';

/** How far the scheduler has followed the log. */
export type Position = { seq: number };

/** Folds every event from the position on, in order, and rings for each. Ends when `signal` is aborted. */
export async function followLog(
  { bus, logger, metrics }: Pick<Context<unknown>, 'bus' | 'logger' | 'metrics'>,
  scheduler: Scheduler,
  position: Position,
  bell: Bell,
  { now, signal }: { now: () => number; signal: AbortSignal },
): Promise<void> {
  const startedMs = Date.now();
  for await (const raw of bus.follow({ from: position.seq + 1, signal })) {
    const { run, ended } = fold(bus, scheduler, raw, now(), logger);
    if (run && ended && Date.parse(run.endedAt ?? '') >= startedMs) countEnded(metrics, run);
    position.seq = raw.seq;
    bell.ring();
  }
}

function fold(bus: Bus, scheduler: Scheduler, raw: RawEvent, nowMs: number, logger: Logger) {
  const event = bus.readEvent(raw);
  try {
    if (event) return scheduler.apply(event, nowMs);
  } catch (error) {
    // A bug: what it is about stands still, and nothing else.
    const reason = messageOf(error).slice(0, 300);
    logger.error({ seq: raw.seq, reason }, 'an event could not be folded and was passed over');
  }
  passOver(scheduler.board, raw.subject, raw.seq);
  return {};
}

function countEnded(metrics: Metrics, { agentId, status, startedAt, endedAt }: Run): void {
  const agent = metrics.agentLabel(agentId);
  metrics.runsEnded.inc({ status });
  metrics.agentRunsEnded.inc({ agent, status });
  if (!startedAt || !endedAt) return;
  // Two clocks, or one that was set back.
  const seconds = Math.max(0, Date.parse(endedAt) - Date.parse(startedAt)) / 1000;
  metrics.runSeconds.observe({ status }, seconds);
  metrics.agentRunSeconds.observe({ agent }, seconds);
}
