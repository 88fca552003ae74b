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
  if (!timetable) return introduced(agent, workId, since);
  const { latestMs } = spanAt(timetable, nowMs);
  if (latestMs === undefined || latestMs <= Date.parse(since.time)) return undefined;
  return scheduled(agent, workId, new Date(latestMs).toISOString());
}

/** The occasion that is called this for a work of an agent, as long as the agent is as it is: its introduction, or one of its times after that. */
export function occasionAt(agent: Agent, workId: string, name: string): Occasion | undefined {
  const since = agent.since[workId];
  if (!since) return undefined;
  const timetable = timetableOf(agent.spec);
  if (!timetable) return since.eventId === name ? introduced(agent, workId, since) : undefined;
  const atMs = Date.parse(name);
  const isTime = atMs > Date.parse(since.time) && timesBetween(timetable, atMs, atMs, 1)[0] === name;
  return isTime ? scheduled(agent, workId, name) : undefined;
}

const introduced = (agent: Agent, workId: string, { eventId, time }: Agent['since'][string]): Occasion => ({
  runId: runIdFor(time, agent.id, workId, eventId),
  since: eventId,
  trigger: 'objective',
});

/** The run of a scheduled work at one of its times (ISO 8601), whoever asks for it. */
export const scheduled = (agent: Agent, workId: string, time: string): Occasion => ({
  runId: runIdFor(time, agent.id, workId, time),
  since: time,
  trigger: 'schedule',
});

/**
 * Whether a scheduled time has gone by for good: the run before took longer than until then, and such are passed over; or it was
 * missed. What waited for the run before is missed once that has ended.
 */
export function isPassedOver({ missed, overlap }: Timetable, time: string, lastEndedAt: string | null, nowMs: number) {
  const wasHeldUp = lastEndedAt !== null && lastEndedAt > time;
  if (wasHeldUp && overlap === 'skip') return true;
  return missed === 'skip' && nowMs - Date.parse(wasHeldUp ? lastEndedAt : time) > missedAfterMs;
}

/** When the schedule comes round next after `nowMs`, in epoch milliseconds. */
export const nextTime = (timetable: Timetable, nowMs: number): number | undefined => spanAt(timetable, nowMs).nextMs;

/** The schedule's times from `fromMs` to `toMs`, the earliest first, `max` at most. */
export const timesBetween = (timetable: Timetable, fromMs: number, toMs: number, max: number): string[] =>
  cronOf(timetable)
    .nextRuns(max, new Date(fromMs - 1))
    .filter((time) => time.getTime() <= toMs)
    .map((time) => time.toISOString());

/** A cron line, and the span between two of its times that was asked for last: to find these is dear for a line that comes round rarely. */
type Known = { cron: Cron; span?: Span };
type Span = { fromMs: number; latestMs: number | undefined; nextMs: number | undefined };

const known = new Map<string, Known>();
const knownMax = 1_000;

function knownOf({ cron, timezone }: Timetable): Known {
  const key = `${timezone} ${cron}`;
  const found = known.get(key);
  if (found) return found;
  if (known.size >= knownMax) known.clear();
  const made = { cron: new Cron(cron, { timezone, paused: true }) };
  known.set(key, made);
  return made;
}

const cronOf = (timetable: Timetable): Cron => knownOf(timetable).cron;

/** The times around `nowMs`: the latest that has come, and the next. */
function spanAt(timetable: Timetable, nowMs: number): Span {
  const entry = knownOf(timetable);
  const { span } = entry;
  if (span && nowMs >= span.fromMs && nowMs < (span.nextMs ?? Number.POSITIVE_INFINITY)) return span;
  const now = new Date(nowMs);
  // It leaves out the moment that it is asked for, and a time has come in its very millisecond.
  const latestMs = entry.cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime();
  entry.span = { fromMs: latestMs ?? nowMs, latestMs, nextMs: entry.cron.nextRun(now)?.getTime() };
  return entry.span;
}
