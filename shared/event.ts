import { createHash, randomBytes } from 'node:crypto';
import type { Draft, EventType, TokaEvent } from './contracts/events.ts';
import { newId } from './ids.ts';

/** Who appends: `/toka/<service>/<instance>`, and on whose behalf; `tracing`: with a trace context. */
export type Writer = { source: string; actor: string; tracing?: boolean };

type Links = { correlationid?: string; causationid?: string };

/** Puts a draft in its envelope. `subject` is e.g. `run/run_01…`. */
export function newEvent<T extends EventType>(
  draft: Draft<T>,
  subject: string,
  writer: Writer,
  links: Links = {},
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
    ...(writer.tracing && links.correlationid ? { traceparent: traceparent(links.correlationid) } : {}),
    data: draft.data,
  } as TokaEvent;
}

/** W3C Trace Context, level 1: all that belongs to one run or agent is one trace, whoever appends it. */
function traceparent(correlationId: string): string {
  const trace = createHash('sha256').update(correlationId).digest('hex').slice(0, 32);
  return `00-${trace}-${randomBytes(8).toString('hex')}-01`;
}
