import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { filtersOf } from '#shared/contracts/events.ts';

/** An event with its JSON as it was written. */
export type Written = { event: Recorded; text: string };

type Source = Pick<Bus, 'follow' | 'readEvent'>;

type ReadOptions = {
  /** The first sequence that counts. */
  from: number;
  /** `run/run_1`, or all of a kind: `run/*`; undefined: everything. */
  subject?: string | undefined;
  /** How many events are at hand at a time at most. */
  batch?: number;
  signal: AbortSignal;
};

/** Every event from a sequence on, in order, without gap or double, and then live. */
export async function* readOn(bus: Source, { subject, ...options }: ReadOptions): AsyncGenerator<Written> {
  const subjects = subject === undefined ? undefined : filtersOf(subject);
  for await (const raw of bus.follow({ ...options, subjects })) {
    const event = bus.readEvent(raw);
    if (event) yield { event, text: new TextDecoder().decode(raw.bytes) };
  }
}
