import { extend, madeId } from '../answers.ts';
import { inputOfArgs, originOf } from '../custom-tools.ts';
import { cutOff } from '../errors.ts';
import type { CallPart, EventWriter, JsonObject, PivotAnswer, PivotEvent, Reply, WireError } from '../pivot.ts';
import { writeSse } from '../sse.ts';
import type { Item } from './answer.ts';
import { itemId, writeAnswer, writeHead, writeItem, writePart } from './answer.ts';
import { writeFailure } from './failure.ts';

type Send = (type: string, data: JsonObject) => string;

/** Writes the events of a streamed response. It keeps the answer, which its last event has to say as a whole. */
export function createEventWriter(reply: Reply): EventWriter {
  const answer: PivotAnswer = { id: '', model: '', parts: [], stopReason: 'end', usage: undefined };
  let sequence_number = 0;
  let over = false;
  const send: Send = (type, data) => writeSse({ type, sequence_number: sequence_number++, ...data }, type);
  const output = createOutput(answer, reply, send);
  const fail = (error: WireError) => {
    over = true;
    const begun = { ...answer, id: answer.id || madeId('') };
    return writeFailure(error, { sequenceNumber: sequence_number, response: writeHead(begun, reply, 'failed') });
  };

  const write = (event: PivotEvent): string => {
    const before = output.before(event);
    extend(answer, event);
    switch (event.type) {
      case 'start': {
        const response = writeHead(answer, reply);
        return `${send('response.created', { response })}${send('response.in_progress', { response })}`;
      }
      case 'thinking':
        return '';
      case 'text':
      case 'refusal':
      case 'toolCallStart':
      case 'toolCallArgs':
        return before + output.after(event);
      case 'usage':
        return '';
      case 'stop': {
        over = true;
        const response = writeAnswer(answer, reply);
        const type = response.status === 'completed' ? 'response.completed' : 'response.incomplete';
        return before + send(type, { response });
      }
      case 'error':
        return fail(event.error);
    }
  };
  return {
    write: (event) => (over ? '' : write(event)),
    end: () => (over ? '' : fail(cutOff)),
  };
}

type Said = Extract<PivotEvent, { type: 'text' | 'refusal' | 'toolCallStart' | 'toolCallArgs' }>;

/** Opens and closes items and their parts around what is said. */
function createOutput(answer: PivotAnswer, { request }: Reply, send: Send) {
  let item: Item | undefined;
  let output_index = -1;
  const at = () => ({ item_id: itemId(answer.id, output_index, item ?? { type: 'message', parts: [] }), output_index });

  const begin = (next: Item, shown: Item = next): string => {
    item = next;
    output_index += 1;
    return send('response.output_item.added', {
      output_index,
      item: writeItem(answer.id, output_index, shown, 'in_progress'),
    });
  };
  const closePart = (): string => {
    const part = item?.type === 'message' ? item.parts.at(-1) : undefined;
    if (item?.type !== 'message' || !part) return '';
    const place = { ...at(), content_index: item.parts.length - 1 };
    const done =
      part.type === 'text'
        ? send('response.output_text.done', { ...place, text: part.text, logprobs: [] })
        : send('response.refusal.done', { ...place, refusal: part.text });
    return done + send('response.content_part.done', { ...place, part: writePart(part) });
  };
  const closeItem = (status: 'completed' | 'incomplete'): string => {
    if (!item) return '';
    const done = item.type === 'message' ? closePart() : closeCall(item, at(), send);
    const whole = writeItem(answer.id, output_index, item, status);
    item = undefined;
    return done + send('response.output_item.done', { output_index, item: whole });
  };
  const sayText = (event: Extract<Said, { delta: string; type: 'text' | 'refusal' }>): string => {
    const part = answer.parts.at(-1);
    if (!part || part.type !== event.type) return '';
    let begun = item ? '' : begin({ type: 'message', parts: [] });
    if (item?.type !== 'message') return begun;
    const isNew = item.parts.at(-1) !== part;
    if (isNew) item.parts.push(part);
    const place = { ...at(), content_index: item.parts.length - 1 };
    if (isNew) begun += send('response.content_part.added', { ...place, part: writePart({ ...part, text: '' }) });
    if (event.type === 'refusal') return begun + send('response.refusal.delta', { ...place, delta: event.delta });
    return begun + send('response.output_text.delta', { ...place, delta: event.delta, logprobs: [] });
  };
  const beginCall = (call: CallPart) => begin({ type: 'call', call, origin: originOf(request.tools, call) });

  return {
    /** What is closed before this event is taken into the answer. */
    before(event: PivotEvent): string {
      if (event.type === 'stop') return closeItem(isCut(event, answer) ? 'incomplete' : 'completed');
      if (event.type === 'toolCallStart') return closeItem('completed');
      if (event.type !== 'text' && event.type !== 'refusal') return '';
      if (item?.type === 'call') return closeItem('completed');
      // A text behind a part that is not shown, or told to begin, is a part of its own.
      const said = item?.parts.at(-1);
      const goesOn =
        said?.type === event.type && said === answer.parts.at(-1) && !(event.type === 'text' && event.begins);
      return item && !goesOn ? closePart() : '';
    },
    after(event: Said): string {
      if (event.type === 'text' || event.type === 'refusal') return sayText(event);
      const part = answer.parts.at(-1);
      if (part?.type !== 'toolCall') return '';
      if (event.type === 'toolCallStart') return beginCall(part);
      return isText(item) ? '' : send('response.function_call_arguments.delta', { ...at(), delta: event.delta });
    },
  };
}

/** A custom tool's text lies within the arguments, which have to be whole before it can be told. */
const isText = (item: Item | undefined) => item?.type === 'call' && item.origin.kind === 'custom';

function closeCall(item: Extract<Item, { type: 'call' }>, place: JsonObject, send: Send): string {
  const { call, origin } = item;
  if (!isText(item)) {
    return send('response.function_call_arguments.done', { ...place, name: origin.name, arguments: call.args });
  }
  const input = inputOfArgs(call.args);
  const told = send('response.custom_tool_call_input.delta', { ...place, delta: input });
  return told + send('response.custom_tool_call_input.done', { ...place, input });
}

const isCut = ({ reason }: Extract<PivotEvent, { type: 'stop' }>, { parts }: PivotAnswer) =>
  reason === 'length' || (reason === 'refusal' && !parts.some(({ type }) => type === 'refusal'));
