import type { Draft, EventType, TokaEvent } from './contracts/events.ts';
import { isDecision } from './contracts/events.ts';
import { newId } from './ids.ts';
import type { Trace } from './trace.ts';
import { traceOf, within } from './trace.ts';

/** Who appends: `/toka/<service>/<instance>`, and on whose behalf; `tracing`: with a trace context, of the `trace` at hand if there is one. */
export type Writer = { source: string; actor: string; tracing?: boolean; trace?: Trace | undefined };

/** `trace`: which the run that it belongs to was queued in. */
type Links = { correlationid?: string; causationid?: string; trace?: Trace | null | undefined };

/** Puts a draft in its envelope. `subject` is e.g. `run/run_01…`. */
export function newEvent<T extends EventType>(
  draft: Draft<T>,
  subject: string,
  writer: Writer,
  { trace, ...links }: Links = {},
): TokaEvent {
  return {
    specversion: '1.0',
    id: newId('evt'),
    source: writer.source,
    type: draft.type,
    subject,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    actor: writer.actor,
    ...links,
    ...(writer.tracing ? traceFor(writer.trace ?? trace, links.correlationid) : {}),
    ...(isDecision({ ...draft, actor: writer.actor } as Parameters<typeof isDecision>[0]) ? { decision: true } : {}),
    data: draft.data,
  } as TokaEvent;
}

const traceFor = (trace: Trace | null | undefined, name: string | undefined): Partial<Trace> =>
  trace ? within(trace) : name === undefined ? {} : traceOf(name);
