import type { Call } from '../network-client.ts';
import type { Evidence, Incident, Violation } from './evidence.ts';
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

type LimitOptions = Limit & CallOptions;

/**
 * No window at the provider has more requests than the limit, save for how much later than others they may have come: `lateMs` each, and those
 * that came when a process was let go on that the machine had not let run. One that was stopped by us is not excused: what it was allowed
 * before, it may not send afterwards. An llm-proxy that has lost Redis alone adds its share to what the others take.
 */
export function limitHolds({ calls, incidents }: Evidence, options: LimitOptions): Violation[] {
  const { requests, windowMs, lateMs, senders } = options;
  if (fullest(calls, windowMs - lateMs).count <= requests) return [];
  const sent = calls.map((call) => ({ fromMs: sentAfter(call, incidents, options), atMs: call.atMs }));
  const windows = sent.map(({ fromMs }) => {
    const untilMs = fromMs + windowMs;
    const inIt = sent.filter((each) => each.fromMs >= fromMs && each.atMs <= untilMs);
    const alone = [...new Set(senders.values())].filter((name) => wasAlone(incidents, name, fromMs, untilMs));
    const share = Math.floor(requests / Math.max(1, new Set(senders.values()).size));
    return { over: inIt.length - requests - alone.length * share, count: inIt.length, fromMs, untilMs, alone };
  });
  const [worst] = windows.toSorted((a, b) => b.over - a.over);
  if (!worst || worst.over <= 0) return [];
  const { count, fromMs, untilMs, alone } = worst;
  const harm = incidents.filter((each) => each.fromMs <= untilMs && each.untilMs >= fromMs - 2_000);
  const around = harm.map(({ on, what }) => `${what} ${on}`).join(', ');
  const text = `${count} requests were sent in ${windowMs} ms up to ${new Date(untilMs).toISOString()}, of ${requests}${alone.length > 0 ? ` (${alone.join(', ')} without Redis)` : ''}; around it: ${around || 'nothing'}`;
  return [{ check: 'limits hold upstream', text }];
}

/** Since when a request may have been under way. */
function sentAfter({ atMs, via }: Call, incidents: readonly Incident[], { lateMs, senders }: CallOptions): number {
  const sender = senders.get(via);
  const isStopped = (stall: Incident) =>
    incidents.some(({ on, what, fromMs, untilMs }) => {
      return on === stall.on && what === 'stop' && fromMs <= stall.untilMs && untilMs >= stall.fromMs;
    });
  const held = incidents.filter(
    (each) =>
      each.what === 'busy' &&
      (each.on === 'machine' || each.on === sender) &&
      each.fromMs <= atMs &&
      each.untilMs + lateMs >= atMs &&
      !isStopped(each),
  );
  return Math.min(atMs, ...held.map(({ fromMs }) => fromMs)) - lateMs;
}

/** How long Redis is waited for, and until an llm-proxy looks again whether it is back. */
const aloneMs = 4_000;

/** Whether an llm-proxy may have lost Redis while the others had it. */
const wasAlone = (incidents: readonly Incident[], name: string, fromMs: number, untilMs: number) =>
  harmIn(incidents, [`${name} > redis`], { fromMs, untilMs, feltMs: aloneMs }).length > 0;
