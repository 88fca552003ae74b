import type { Recorded } from '#shared/contracts/events.ts';
import type { Call } from '../network-client.ts';

/** A message of the log as NATS has it. */
export type Message = {
  seq: number;
  /** When NATS took it, by its clock, which nobody moves. */
  timeMs: number;
  bytes: Uint8Array;
  /** Undefined: it is no event. */
  event: Recorded | undefined;
};

/** A piece of work that was asked for. */
export type Item = {
  mark: string;
  agent: string;
  /** When a gateway said that it was taken. */
  acceptedMs: number | undefined;
  /** What the last refusal said. */
  refusal: string;
};

/** Something that was done to somebody, or happened to the machine. */
export type Incident = { on: string; what: string; fromMs: number; untilMs: number };

/** What was seen so far, and what must hold at any time. */
export type Evidence = {
  messages: readonly Message[];
  items: readonly Item[];
  calls: readonly Call[];
  incidents: readonly Incident[];
};

export type Violation = { check: string; text: string };

/** The runs of a log, each with its messages in order. */
export function runsOf(messages: readonly Message[]): Map<string, RunMessage[]> {
  const runs = new Map<string, RunMessage[]>();
  for (const { event, timeMs } of messages) {
    if (!event?.type.startsWith('toka.run.')) continue;
    const own = runs.get(event.subject);
    if (own) own.push({ event, timeMs });
    else runs.set(event.subject, [{ event, timeMs }]);
  }
  return runs;
}
export type RunMessage = { event: Recorded; timeMs: number };

export const isEnd = ({ event }: RunMessage): boolean =>
  ['toka.run.completed.v1', 'toka.run.failed.v1', 'toka.run.cancelled.v1'].includes(event.type);

/** What was done to one of `names` and may still have been felt in a time. */
export const harmIn = (
  incidents: readonly Incident[],
  names: readonly string[],
  { fromMs, untilMs, feltMs }: { fromMs: number; untilMs: number; feltMs: number },
): Incident[] =>
  incidents.filter((each) => names.includes(each.on) && each.fromMs <= untilMs && each.untilMs + feltMs >= fromMs);
