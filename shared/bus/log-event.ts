import type { EventType, Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { eventTypes, isDecision, parseEvent, subjectOf } from '#shared/contracts/events.ts';
import { messageOf } from '#shared/errors.ts';

/** A message as it lies in the log; `bytes` are exact, for the hash chain. */
export type RawEvent = { seq: number; subject: string; bytes: Uint8Array };

/** What a message of the log is: an event; one of a type that a newer version writes; or nothing that counts, and why. */
export type Reading = { event: Recorded } | { newer: string } | { odd: string };

const decoder = new TextDecoder('utf-8', { fatal: true });

/**
 * Reads a message of the log. Whoever may write on a subject may write anything there, so an event counts only where it belongs: on the
 * subject of what it is about, and what a person says of a run only where the gateway alone may write. `decisionsSince`: the last sequence of a
 * log that is older than that rule.
 */
export function readLogEvent({ seq, subject, bytes }: RawEvent, decisionsSince: number): Reading {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(bytes));
  } catch {
    return { odd: 'it is not JSON' };
  }
  const type = (value as { type?: unknown } | null)?.type;
  if (typeof type === 'string' && /^toka\.[a-z]+\.[a-z-]+\.v\d+$/.test(type) && !eventTypes.includes(type as EventType))
    return { newer: type };
  let event: TokaEvent;
  try {
    event = parseEvent(value);
  } catch (error) {
    return { odd: messageOf(error).slice(0, 300) };
  }
  if (subjectOf(event) !== subject) return { odd: `an event of ${event.subject} that lies on ${subject}` };
  if (!event.type.startsWith(`toka.${event.subject.split('/')[0]}.`))
    return { odd: `an event of type ${event.type} about ${event.subject}` };
  if (seq > decisionsSince && !isInPlace(event)) return { odd: `${event.type} of ${event.actor} where it may not be` };
  return { event: { ...event, seq } };
}

/** A runner may write on its runs' subjects, and must not be able to speak there for a person. */
function isInPlace(event: TokaEvent): boolean {
  if (isDecision(event) !== (event.decision ?? false)) return false;
  const ofPerson = event.subject.startsWith('run/') && event.actor.startsWith('user:');
  return !ofPerson || isDecision(event);
}
