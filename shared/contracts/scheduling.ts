import { z } from 'zod';
import { request, topic } from './contract.ts';

/** What each runner tells every other second, and when it changes: the runs that it may execute at a time; none once it stops. */
export const runnerSlots = topic(
  'toka.runners',
  z.object({ instance: z.string(), slots: z.number().int().nonnegative() }),
);

export const phases = ['idle', 'critical', 'high', 'rest'] as const;

export const SchedulingView = z.object({
  /** The instance that leads; null while there is none. */
  leader: z.string().nullable(),
  /** The stretch of work that is under way, or was last: from the first run that is queued to the end of the last. */
  session: z
    .object({
      id: z.string(),
      startedAt: z.string(),
      queued: z.number(),
      completed: z.number(),
      failed: z.number(),
      /** The share of its runs that have ended, 0 to 1. */
      progress: z.number(),
    })
    .nullable(),
  /** What is worked on: critical agents, then those of high priority, then the rest. */
  phase: z.enum(phases),
  /** Runs that could be at work and wait for a runner: none that is for later, or waits for another. */
  backlog: z.number(),
  /** Runs that runners may execute at a time in all. */
  slots: z.number(),
  /** Those that have not ended, by status. */
  runs: z.record(z.string(), z.number()),
});
export type SchedulingView = z.infer<typeof SchedulingView>;

/** How scheduling stands. Any scheduler knows. */
export const getScheduling = request('toka.scheduler.query.status', z.object({}), SchedulingView);

/** How many runs have not ended, whatever they wait for: in all, in a workstream, and of those the ones that `actor` queued. Any scheduler knows. */
export const countRuns = request(
  'toka.scheduler.query.runs',
  z.object({ workstream: z.string(), actor: z.string() }),
  z.object({ all: z.number(), workstream: z.number(), caller: z.number() }),
);
