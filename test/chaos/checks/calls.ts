import type { Call } from '../network-client.ts';
import type { Evidence, Violation } from './evidence.ts';
import { harmIn } from './evidence.ts';
import { runsByMark } from './runs.ts';

type CallOptions = {
  /** How late a request may come that was sent in time. */
  lateMs: number;
  /** Who sent it, by the port it came through. */
  senders: ReadonlyMap<number, string>;
};

/** What the log holds of a model's answers is not asked again: each turn of a run, and each verdict. */
export function askedOnce({ messages, calls, incidents }: Evidence, { lateMs, senders }: CallOptions): Violation[] {
  const byMark = Map.groupBy(calls, ({ mark }) => mark);
  const violations: Violation[] = [];
  for (const [mark, runs] of runsByMark(messages)) {
    const asked = byMark.get(mark) ?? [];
    for (const run of runs) {
      const steps = run.filter(({ event }) => event.type === 'toka.run.step-completed.v1');
      const again = (what: string, timeMs: number, seq: number, same: readonly Call[]) => {
        if (!same.some(({ atMs }) => atMs <= timeMs + lateMs))
          violations.push({
            check: 'recorded answers were asked',
            text: `${run[0]?.event.subject} (${mark}): ${what} (${seq}) was never asked`,
          });
        for (const call of same.filter(({ atMs }) => atMs > timeMs + lateMs)) {
          const sender = senders.get(call.via) ?? String(call.via);
          const around = { fromMs: timeMs - 2_000, untilMs: call.atMs, feltMs: 1_000 };
          const names = [sender, `${sender} > nats`, 'nats', 'machine', ...runnersOf(run)];
          const harm = harmIn(incidents, names, around).map(({ on, what: did }) => `${did} ${on}`);
          const text = `${run[0]?.event.subject} (${mark}): ${what} was recorded as ${seq}, and asked again ${call.atMs - timeMs} ms later by ${sender}; around it: ${harm.join(', ') || 'nothing'}`;
          violations.push({ check: 'no recorded call is repeated', text });
        }
      };
      for (const [turn, { event, timeMs }] of steps.entries())
        again(
          `turn ${turn + 1}`,
          timeMs,
          event.seq,
          asked.filter(({ turns, forced }) => turns === turn && forced === null),
        );
      const verdicts = run.filter(({ event }) => event.type === 'toka.run.validated.v1' && event.data.facts !== null);
      // Where one was refused, the next is another question.
      if (verdicts.length !== 1) continue;
      for (const { event, timeMs } of verdicts)
        again(
          'its verdict',
          timeMs,
          event.seq,
          asked.filter(({ forced }) => forced === 'verdict'),
        );
    }
  }
  return violations;
}

const runnersOf = (run: readonly { event: { type: string; data: unknown } }[]): string[] => {
  const names = run.flatMap(({ event }) =>
    event.type === 'toka.run.started.v1' ? [(event.data as { runner: string }).runner.replace(/-\d+$/, '')] : [],
  );
  return [...new Set(names)].flatMap((name) => [name, `${name} > nats`]);
};

export type Limit = { requests: number; windowMs: number };

/** How many requests came in the fullest window. */
export function fullest(calls: readonly Call[], windowMs: number): { count: number; untilMs: number } {
  const times = calls.map(({ atMs }) => atMs).sort((a, b) => a - b);
  let from = 0;
  let most = { count: 0, untilMs: 0 };
  for (const [index, atMs] of times.entries()) {
    while ((times[from] ?? atMs) <= atMs - windowMs) from += 1;
    if (index - from + 1 > most.count) most = { count: index - from + 1, untilMs: atMs };
  }
  return most;
}

/** No window at the provider has more requests than the limit, save for how much later than others they may have come. */
export function limitHolds({ calls, incidents }: Evidence, { requests, windowMs }: Limit, lateMs: number): Violation[] {
  const { count, untilMs } = fullest(calls, windowMs - lateMs);
  if (count <= requests) return [];
  const harm = incidents.filter((each) => each.fromMs <= untilMs && each.untilMs >= untilMs - windowMs - 2_000);
  const around = harm.map(({ on, what }) => `${what} ${on}`).join(', ');
  const text = `${count} requests reached the provider in ${windowMs - lateMs} ms up to ${new Date(untilMs).toISOString()}, of ${requests} in ${windowMs} ms; around it: ${around || 'nothing'}`;
  return [{ check: 'limits hold upstream', text }];
}
