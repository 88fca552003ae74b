import type { Draft, EventType, TokaEvent } from './contracts/events.ts';
import { newId } from './ids.ts';

/** Who appends: `/toka/<service>/<instance>`, and on whose behalf. */
export type Writer = { source: string; actor: string };

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
    data: draft.data,
  } as TokaEvent;
}
