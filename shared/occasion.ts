import { Cron } from 'croner';
import type { Agent } from './domain/agent.ts';
import { runIdFor } from './ids.ts';

/** Why a work is to be run now, and the run that it asks for: the same occasion always names the same run. */
export type Occasion = { runId: string; since: string; trigger: 'objective' | 'schedule' };

/**
 * The present occasion of an agent's work: its introduction or last change, or, for an agent with a schedule, the latest time that
 * has come (those missed before it are passed over). Undefined: none yet. Cron lines are read in UTC. `nowMs` is epoch milliseconds.
 */
export function occasionOf(agent: Agent, workId: string, nowMs: number): Occasion | undefined {
  const since = agent.since[workId];
  if (!since) return undefined;
  if (!agent.spec.schedule) {
    return { runId: runIdFor(since.time, agent.id, workId, since.eventId), since: since.eventId, trigger: 'objective' };
  }
  const [latest] = timetable(agent.spec.schedule).previousRuns(1, new Date(nowMs));
  if (!latest || latest.getTime() <= Date.parse(since.time)) return undefined;
  const time = latest.toISOString();
  return { runId: runIdFor(time, agent.id, workId, time), since: time, trigger: 'schedule' };
}

const timetables = new Map<string, Cron>();
const timetablesMax = 1_000;

/** Parsing a cron line is dear next to asking it. */
function timetable(line: string): Cron {
  const known = timetables.get(line);
  if (known) return known;
  if (timetables.size >= timetablesMax) timetables.clear();
  const parsed = new Cron(line, { timezone: 'UTC', paused: true });
  timetables.set(line, parsed);
  return parsed;
}
