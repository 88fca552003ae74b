import { Cron } from 'croner';
import type { Timetable } from './contracts/agent.ts';
import { timetableOf } from './contracts/agent.ts';
import type { Agent } from './domain/agent.ts';
import { runIdFor } from './ids.ts';

/** Why a work is to be run now, and the run that it asks for: the same occasion always names the same run. */
export type Occasion = { runId: string; since: string; trigger: 'objective' | 'schedule' };

/** A time that came so long ago was missed: nobody was there to start it. */
const missedAfterMs = 60_000;

/**
 * The present occasion of an agent's work: its introduction or last change, or, for an agent with a schedule, the latest time that
 * has come (those missed before it are passed over). Undefined: none yet. `nowMs` is epoch milliseconds.
 */
export function occasionOf(agent: Agent, workId: string, nowMs: number): Occasion | undefined {
  const since = agent.since[workId];
  if (!since) return undefined;
  const timetable = timetableOf(agent.spec);
  if (!timetable) {
    return { runId: runIdFor(since.time, agent.id, workId, since.eventId), since: since.eventId, trigger: 'objective' };
  }
  const [latest] = cronOf(timetable).previousRuns(1, new Date(nowMs));
  if (!latest || latest.getTime() <= Date.parse(since.time)) return undefined;
  return scheduled(agent, workId, latest.toISOString());
}

/** The run of a scheduled work at one of its times (ISO 8601), whoever asks for it. */
export const scheduled = (agent: Agent, workId: string, time: string): Occasion => ({
  runId: runIdFor(time, agent.id, workId, time),
  since: time,
  trigger: 'schedule',
});

/** Whether a scheduled time has gone by for good: it was missed, or the run before took longer than until then, and such are passed over. */
export function isPassedOver({ missed, overlap }: Timetable, time: string, lastEndedAt: string | null, nowMs: number) {
  if (missed === 'skip' && nowMs - Date.parse(time) > missedAfterMs) return true;
  return overlap === 'skip' && lastEndedAt !== null && lastEndedAt > time;
}

/** When the schedule comes round next after `nowMs`, in epoch milliseconds. */
export const nextTime = (timetable: Timetable, nowMs: number): number | undefined =>
  cronOf(timetable).nextRun(new Date(nowMs))?.getTime();

/** The schedule's times from `fromMs` to `toMs`, the earliest first, `max` at most. */
export const timesBetween = (timetable: Timetable, fromMs: number, toMs: number, max: number): string[] =>
  cronOf(timetable)
    .nextRuns(max, new Date(fromMs - 1))
    .filter((time) => time.getTime() <= toMs)
    .map((time) => time.toISOString());

const crons = new Map<string, Cron>();
const cronsMax = 1_000;

/** Parsing a cron line is dear next to asking it. */
function cronOf({ cron, timezone }: Timetable): Cron {
  const key = `${timezone} ${cron}`;
  const known = crons.get(key);
  if (known) return known;
  if (crons.size >= cronsMax) crons.clear();
  const parsed = new Cron(cron, { timezone, paused: true });
  crons.set(key, parsed);
  return parsed;
}
