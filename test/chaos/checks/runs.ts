import type { DataOf } from '#shared/contracts/events.ts';
import { markIn } from '../model.ts';
import type { Evidence, Item, Message, RunMessage, Violation } from './evidence.ts';
import { harmIn, isEnd, runsOf } from './evidence.ts';

const short = (type: string) => type.replace(/^toka\.run\.|\.v1$/g, '');
const storyOf = (run: readonly RunMessage[]) =>
  run
    .slice(-12)
    .map(({ event }) => `${event.seq} ${short(event.type)}`)
    .join(', ');

/** No run ends twice, and nothing happens to one that has ended but that others go on from it. */
export function endsOnce(messages: readonly Message[]): Violation[] {
  const late = new Set(['toka.run.forked.v1', 'toka.run.child-ended.v1']);
  return [...runsOf(messages)].flatMap(([subject, run]) => {
    const end = run.findIndex(isEnd);
    const after = end < 0 ? [] : run.slice(end + 1).filter(({ event }) => !late.has(event.type));
    return after.length > 0 ? [{ check: 'a run ends once', text: `${subject}: ${storyOf(run)}` }] : [];
  });
}

/** The marks of the works that have been queued, each with its runs. */
export function runsByMark(messages: readonly Message[]): Map<string, RunMessage[][]> {
  const found = new Map<string, RunMessage[][]>();
  for (const run of runsOf(messages).values()) {
    const [first] = run;
    if (first?.event.type !== 'toka.run.queued.v1') continue;
    const mark = markIn(first.event.data.work.description);
    if (mark !== undefined) found.set(mark, [...(found.get(mark) ?? []), run]);
  }
  return found;
}

/** What was asked for once is queued once, however often the request was repeated. */
export function queuedOnce(messages: readonly Message[]): Violation[] {
  return [...runsByMark(messages)]
    .filter(([, runs]) => runs.length > 1)
    .map(([mark, runs]) => ({
      check: 'a work is queued once',
      text: `${mark}: ${runs.map(([first]) => first?.event.subject).join(' and ')}`,
    }));
}

/** At the end: all that was taken has been done, and all that was sent was taken. */
export function allEnded(messages: readonly Message[], items: readonly Item[]): Violation[] {
  const check = 'what is taken is done';
  const found = runsByMark(messages);
  return items.flatMap(({ mark, agent, acceptedMs, refusal }) => {
    if (acceptedMs === undefined) return [{ check, text: `${mark} of ${agent} was never taken: ${refusal}` }];
    const [run] = found.get(mark) ?? [];
    if (!run) return [{ check, text: `${mark} of ${agent} was taken, and no run was queued` }];
    if (!run.some(isEnd)) return [{ check, text: `${run[0]?.event.subject} (${mark}) has not ended: ${storyOf(run)}` }];
    return [];
  });
}

/** A run that ended otherwise than well, though no fault here lasts. Who lost three runners in a row is given up, rightly: see `takenFromHarmed`. */
export function endedWell(messages: readonly Message[]): Violation[] {
  return [...runsOf(messages)].flatMap(([subject, run]) => {
    const last = run.find(isEnd)?.event;
    if (last?.type === 'toka.run.failed.v1' && last.data.code !== 'poison')
      return [{ check: 'a run ends well', text: `${subject} failed: ${last.data.code}: ${last.data.message}` }];
    if (last?.type === 'toka.run.cancelled.v1')
      return [{ check: 'a run ends well', text: `${subject} was cancelled: ${last.data.reason}` }];
    return [];
  });
}

/** Of a run only the runner that started it last writes as a runner: the fence. */
export function onlyItsRunnerWrites(messages: readonly Message[]): Violation[] {
  const violations: Violation[] = [];
  for (const [subject, run] of runsOf(messages)) {
    let runner: string | undefined;
    for (const { event } of run) {
      if (event.type === 'toka.run.started.v1') runner = event.data.runner;
      const writer = /^\/toka\/agent-runner\/(.+)$/.exec(event.source)?.[1];
      if (writer === undefined || writer === runner) continue;
      const text = `${subject}: ${event.seq} ${short(event.type)} is of ${writer}, and ${runner ?? 'nobody'} had the run`;
      violations.push({ check: 'only its runner writes', text });
      break;
    }
  }
  return violations;
}

/** A tool's call begins once and has one result. */
export function toolsOnce(messages: readonly Message[]): Violation[] {
  return [...runsOf(messages)].flatMap(([subject, run]) => {
    const counts = new Map<string, number>();
    for (const { event } of run) {
      const { callId } = event.data as Partial<DataOf<'toka.run.tool-called.v1'>>;
      const kind = kindOf(event.type);
      if (kind === undefined || !callId) continue;
      const key = `${callId} ${kind}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...counts]
      .filter(([, count]) => count > 1)
      .map(([key, count]) => ({ check: 'a call has one result', text: `${subject}: ${key} ${count} times` }));
  });
}

function kindOf(type: string): string | undefined {
  if (type === 'toka.run.tool-called.v1') return 'began';
  return type === 'toka.run.tool-returned.v1' || type === 'toka.run.deliverable-submitted.v1' ? 'ended' : undefined;
}

/** What was to be done once in a workspace was done once. */
export function doneOnce(messages: readonly Message[]): Violation[] {
  return messages.flatMap(({ event }) =>
    event?.type === 'toka.run.validated.v1' && event.data.command && event.data.command.exitCode !== 0
      ? [{ check: 'work is done once', text: `${event.subject}: ${event.seq}: ${JSON.stringify(event.data.command)}` }]
      : [],
  );
}

/** What ended a runner's lease may be over by the time that it writes again: a lease, and a moment for another to take the task. */
const feltMs = 6_000;

/** What keeps a runner from renewing its lease for as long as it lasts. */
const silences: ReadonlySet<string> = new Set(['kill', 'stop', 'restart', 'cut', 'drop', 'disk', 'busy']);

/**
 * A run is taken over only from a runner to which something was done. Where that lasted longer than a lease without its last renewal, the task
 * is on the queue again, and it may lie there for any time until somebody takes it: renewals do not call it back.
 */
export function takenFromHarmed({ messages, incidents }: Evidence, leaseMs: number): Violation[] {
  const wasSilent = (names: readonly string[], sinceMs: number, untilMs: number) =>
    harmIn(incidents, names, { fromMs: sinceMs, untilMs, feltMs: 0 }).some(
      (each) =>
        (each.on === 'machine' || silences.has(each.what)) &&
        Math.min(untilMs, each.untilMs) - each.fromMs >= (leaseMs * 2) / 3,
    );
  const violations: Violation[] = [];
  for (const [subject, run] of runsOf(messages)) {
    let held: { runner: string; fromMs: number; sinceMs: number } | undefined;
    for (const { event, timeMs } of run) {
      if (event.type === 'toka.run.retry-scheduled.v1' || event.type === 'toka.run.dispatched.v1') held = undefined;
      // It was well at that time: only what came since can have cost it the run.
      if (event.type !== 'toka.run.started.v1') {
        if (held && event.source.endsWith(`/${held.runner}`)) held.fromMs = timeMs;
        continue;
      }
      const before = held;
      held = { runner: event.data.runner, fromMs: timeMs, sinceMs: timeMs };
      if (!before) continue;
      const process = before.runner.replace(/-\d+$/, '');
      const names = [process, `${process} > nats`, 'nats', 'machine'];
      if (harmIn(incidents, names, { fromMs: before.fromMs, untilMs: timeMs, feltMs }).length > 0) continue;
      if (wasSilent(names, before.sinceMs, timeMs)) continue;
      const afterS = ((timeMs - before.fromMs) / 1000).toFixed(1);
      const text = `${subject}: ${event.seq}: ${held.runner} took it from ${before.runner}, which nothing had been done to, after ${afterS} s`;
      violations.push({ check: 'a run stays with its runner', text });
    }
  }
  return violations;
}
