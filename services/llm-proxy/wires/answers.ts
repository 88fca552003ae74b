import { randomUUID } from 'node:crypto';
import { broken, cutOff } from './errors.ts';
import type {
  EventReader,
  JsonObject,
  PivotAnswer,
  PivotEvent,
  PivotStop,
  ThinkingEvent,
  ThinkingPart,
} from './pivot.ts';
import { parseObject } from './read.ts';

// As it comes, JSON and all: a chunk of a few letters takes some 200 characters.
const answerCharsMax = 32_000_000;

/** The wire's own id without its prefix, so that another wire can put its own before it. */
export const bareId = (id: string): string => id.replace(/^(chatcmpl-|msg_|resp_)/, '');

/** An id for what came without one. */
export const madeId = (prefix: string): string => `${prefix}${randomUUID().replaceAll('-', '').slice(0, 24)}`;

/** Why the model stopped: servers say "stop" for calls too, and a refusal in words may come with any reason. */
export function settle(reason: PivotStop, has: { calls: boolean; refusal: boolean }): PivotStop {
  if (has.refusal && reason !== 'length') return 'refusal';
  if (reason === 'end' && has.calls) return 'tool-calls';
  return reason === 'tool-calls' && !has.calls ? 'end' : reason;
}

export const hasOf = (parts: PivotAnswer['parts']) => ({
  calls: parts.some(({ type }) => type === 'toolCall'),
  refusal: parts.some(({ type }) => type === 'refusal'),
});

/** One event of a provider's stream as its wire reads it. Returns what it says; an `error` is the last of all. */
type Steps = {
  /** `name`: the event's own, where it has one. */
  step(data: JsonObject, name: string | undefined): PivotEvent[];
  /** What is still to be told at the end; undefined: the model had not come to its end. `isDone`: the stream said that it is all. */
  finish(isDone: boolean): PivotEvent[] | undefined;
};

/** The common part of readers: JSON is parsed, the whole is bounded, and nothing follows an end or an error. */
export function createReader({ step, finish }: Steps): EventReader {
  let left = answerCharsMax;
  let over = false;
  const close = (events: PivotEvent[]) => {
    const last = events.findIndex(({ type }) => type === 'error' || type === 'stop');
    if (last < 0) return events;
    over = true;
    return events.slice(0, last + 1);
  };
  const end = (isDone = false) => (over ? [] : close(finish(isDone) ?? [{ type: 'error', error: cutOff }]));
  return {
    read({ data, event }) {
      if (over || data.trim() === '') return [];
      if (data === '[DONE]') return end(true);
      left -= data.length;
      if (left < 0)
        return close([{ type: 'error', error: broken(`the answer is longer than ${answerCharsMax} characters`) }]);
      const json = parseObject(data);
      if (!json)
        return close([{ type: 'error', error: broken('the answer cannot be read: an event is no JSON object') }]);
      return close(step(json, event));
    },
    end: () => end(),
  };
}

/** A streamed answer put together again; an error in it is left to the caller. */
export function collect(events: Iterable<PivotEvent>): PivotAnswer {
  const answer: PivotAnswer = { id: '', model: '', parts: [], stopReason: 'end', usage: undefined };
  for (const event of events) extend(answer, event);
  return answer;
}

/** Adds one event to an answer. */
export function extend(answer: PivotAnswer, event: PivotEvent): void {
  const last = answer.parts.at(-1);
  switch (event.type) {
    case 'start':
      Object.assign(answer, { id: event.id, model: event.model, usage: event.usage });
      return;
    case 'text':
    case 'refusal': {
      const isNew = event.type === 'text' && event.begins;
      if (last?.type === event.type && !isNew) last.text += event.delta;
      else answer.parts.push({ type: event.type, text: event.delta });
      return;
    }
    case 'thinking':
      if (last?.type === 'thinking' && !event.begins) think(last, event);
      else answer.parts.push(think({ type: 'thinking', of: event.of, text: '' }, event));
      return;
    case 'toolCallStart':
      answer.parts.push({ type: 'toolCall', id: event.id, name: event.name, args: '' });
      return;
    case 'toolCallArgs':
      if (last?.type === 'toolCall') last.args += event.delta;
      return;
    case 'usage':
      answer.usage = event.usage;
      return;
    case 'stop':
      answer.stopReason = event.reason;
      answer.stopSequence = event.stopSequence;
      return;
    case 'error':
      return;
  }
}

function think(part: ThinkingPart, { delta, id, signature, redacted }: ThinkingEvent): ThinkingPart {
  part.text += delta;
  if (id !== undefined) part.id = id;
  if (signature !== undefined) part.signature = signature;
  if (redacted !== undefined) part.redacted = redacted;
  return part;
}
