import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { filtersOf, parseEvent } from '#shared/contracts/events.ts';
import { listEvents } from '#shared/contracts/store.ts';

/** An event with its JSON as it was written. */
export type Written = { event: Recorded; text: string };

type ReadOptions = {
  /** The first sequence that counts. */
  from: number;
  /** `run/run_1`, or all of a kind: `run/*`; undefined: everything. */
  subject?: string | undefined;
  /** How many events are at hand at a time at most. */
  batch?: number;
  signal: AbortSignal;
};

const usualBatch = 200;

/** Every event from a sequence on, in order, without gap or double: from the archive what the stream keeps no longer, then from the stream, live. */
export async function* readOn(bus: Bus, { from, subject, batch, signal }: ReadOptions): AsyncGenerator<Written> {
  let next = Math.max(from, 1);
  for (let first = await bus.firstSeq(); next < first && !signal.aborted; first = await bus.firstSeq()) {
    const exact = subject?.endsWith('*') ? undefined : subject;
    // Up to `first - 1` at least: where the page is the last one, nothing that the stream has dropped can be missing.
    const page = { cursor: String(next - 1), limit: batch ?? usualBatch, subject: exact, minSeq: first - 1 };
    const { items, nextCursor } = await bus.ask(listEvents, page);
    for (const { seq, ...event } of items) {
      next = seq + 1;
      const written = parsed(() => ({ event: { ...parseEvent(event), seq }, text: JSON.stringify(event) }));
      if (written && isOf(subject, written.event)) yield written;
    }
    if (nextCursor === null) next = Math.max(next, first);
  }
  const subjects = subject && filtersOf(subject);
  for await (const raw of bus.follow({ from: next, subjects: subjects || undefined, batch, signal })) {
    const event = bus.readEvent(raw);
    if (event) yield { event, text: new TextDecoder().decode(raw.bytes) };
  }
}

/** Undefined for somebody else's message, which is not passed on. */
function parsed(read: () => Written): Written | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

const isOf = (subject: string | undefined, event: Recorded): boolean =>
  subject === undefined || (subject.endsWith('*') ? event.subject.startsWith(subject.slice(0, -1)) : true);
