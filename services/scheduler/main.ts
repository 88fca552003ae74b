import type { z } from 'zod';
import { countRuns, getScheduling } from '#shared/contracts/scheduling.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { watchFile } from '#shared/watch-file.ts';
import { createBell } from './bell.ts';
import { Config } from './config.ts';
import { followLog } from './follow.ts';
import { caughtUp, lead } from './lead.ts';
import { createRoster } from './load-roster.ts';
import { createScheduler } from './scheduler.ts';
import { showMetrics, view } from './show.ts';
import { hearSlots } from './slots.ts';
import { keepSnapshots, readSnapshot } from './snapshot.ts';

const showMs = 5_000;

type SchedulerContext = Context<z.output<typeof Config>>;

/** The scheduler: folds the log into a board, and, if it is the one of several that leads, does what is due on it. */
export const start = (context: SchedulerContext) => startWith(context, Date.now);

/** As `start`, by the given clock (epoch milliseconds). */
export async function startWith(context: SchedulerContext, now: () => number): Promise<void> {
  const { bus, config, instance, logger, metrics, stack } = context;
  const { board, seq } = await readSnapshot(bus, logger);
  const position = { seq };
  const scheduler = createScheduler(board, limitsOf(config, bus.rulesSince));
  const bell = createBell();
  const slots = hearSlots(bus, bell.ring);
  const stop = new AbortController();
  const { signal } = stop;
  const following = followLog(context, scheduler, position, bell, { now, signal });
  await caughtUp(await bus.lastSeq(), position, bell, signal);

  const lease = bus.lead('scheduler', instance, bell.ring);
  const roster = createRoster(context, config.CONFIG_FILE, board);
  watchFile(stack, config.CONFIG_FILE, async () => {
    roster.changed();
    bell.ring();
  });
  const leading = lead({ context, scheduler, position, bell, lease, slots, roster: roster.load, now, signal });
  let state = 'ok';
  for (const work of [following, leading])
    work.catch((error) => {
      state = messageOf(error);
      logger.error({ err: error }, 'scheduling stopped');
    });
  context.check('scheduling', () => state);
  bus.answer(getScheduling, async () => view(scheduler, slots(), await lease.holder()));
  bus.answer(countRuns, (place) => scheduler.share(place));
  repeat(stack, showMs, () => showMetrics(metrics, scheduler, lease.isHeld()));
  keepSnapshots(stack, bus, config.SNAPSHOT_INTERVAL, () => ({ board, seq: position.seq, leads: lease.isHeld() }));
  stack.defer(async () => {
    stop.abort();
    bell.ring();
    await Promise.allSettled([following, leading]);
    await lease[Symbol.asyncDispose]();
  });
}

const limitsOf = (config: SchedulerContext['config'], since: number) => ({
  spawnTimeoutS: config.AGENT_SPAWN_TIMEOUT,
  workstreamTimeoutS: config.WORKSTREAM_TIMEOUT,
  quarantineAfter: config.QUARANTINE_AFTER,
  ahead: config.TASKS_AHEAD,
  rules: { since, maxTokens: config.AGENT_MAX_TOKENS, validation: config.CAPABILITY_VALIDATION },
  caps: {
    workstreams: config.WORKSTREAM_RUNS_MAX ?? new Map<string, number>(),
    models: config.MODEL_RUNS_MAX ?? new Map<string, number>(),
    criticalAlone: config.CRITICAL_ALONE,
  },
});

if (import.meta.main) await runService('scheduler', Config, start);
