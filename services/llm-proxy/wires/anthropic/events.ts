import { z } from 'zod';
import type { Usage } from '#shared/contracts/llm.ts';
import { createReader, settle } from '../answers.ts';
import { broken, cutOff, upstreamError, writeAnthropicError } from '../errors.ts';
import type {
  EventReader,
  EventWriter,
  JsonObject,
  PivotEvent,
  PivotStop,
  Reply,
  ThinkingEvent,
  ThinkingPart,
  WireError,
} from '../pivot.ts';
import { writeSse } from '../sse.ts';
import { usageIn, writeAnthropicUsage } from '../usage.ts';
import { messageId, readStop, writeStop } from './answer.ts';
import { clipThought, shownTo, signThinking } from './carried-thinking.ts';

const index = z.int().nonnegative();
// What is not listed says nothing to another wire: a ping, or an event that is newer than this.
const Event = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('message_start'),
    message: z.looseObject({ id: z.string(), model: z.string() }),
  }),
  z.looseObject({
    type: z.literal('content_block_start'),
    index,
    content_block: z.looseObject({
      type: z.string(),
      text: z.string().optional(),
      id: z.string().optional(),
      name: z.string().optional(),
      data: z.string().optional(),
    }),
  }),
  z.looseObject({
    type: z.literal('content_block_delta'),
    index,
    delta: z.looseObject({
      type: z.string(),
      text: z.string().optional(),
      partial_json: z.string().optional(),
      thinking: z.string().optional(),
      signature: z.string().optional(),
    }),
  }),
  z.looseObject({ type: z.literal('content_block_stop'), index }),
  z.looseObject({
    type: z.literal('message_delta'),
    delta: z.looseObject({ stop_reason: z.string().nullish(), stop_sequence: z.string().nullish() }),
    usage: z.looseObject({ input_tokens: z.unknown() }).nullish().catch(undefined),
  }),
  z.looseObject({ type: z.literal('message_stop') }),
  z.looseObject({
    type: z.literal('error'),
    error: z.looseObject({ type: z.unknown().optional(), message: z.unknown().optional() }),
  }),
]);
type Event = z.infer<typeof Event>;
const known: ReadonlySet<unknown> = new Set(Event.options.map((option) => option.shape.type.value));

const unreadable = (what: string): PivotEvent[] => [
  { type: 'error', error: broken(`the answer cannot be read: ${what}`) },
];

/** Reads the events of a streamed message. */
export function createEventReader(): EventReader {
  const readBlock = createBlockReader();
  let usage: Usage | undefined;
  let reason: PivotStop | undefined;
  let stopSequence: string | undefined;
  let started = false;
  let stopped = false;

  const finish = (): PivotEvent[] | undefined => {
    if (!stopped || !reason) return undefined;
    const ended = settle(reason, { calls: readBlock.calls() > 0, refusal: false });
    return [...(usage ? [{ type: 'usage' as const, usage }] : []), { type: 'stop', reason: ended, stopSequence }];
  };
  return createReader({
    step(data) {
      if (!known.has(data.type)) return [];
      const event = Event.safeParse(data).data;
      if (!event) return unreadable('an event is not as it should be');
      if (event.type !== 'error' && started === (event.type === 'message_start')) {
        return unreadable('its events are out of order');
      }
      // The end of a stream tells its output: where the beginning told nothing of the prompt, that is not all.
      const isHalf = event.type === 'message_delta' && !usage && event.usage?.input_tokens == null;
      if (!isHalf) usage = usageIn(data, usage) ?? usage;
      switch (event.type) {
        case 'message_start':
          started = true;
          return [{ type: 'start', id: event.message.id, model: event.message.model, usage }];
        case 'message_delta':
          if (event.delta.stop_reason) reason = readStop(event.delta.stop_reason);
          stopSequence = event.delta.stop_sequence ?? undefined;
          return [];
        case 'message_stop':
          stopped = true;
          return finish() ?? [];
        case 'error':
          return [{ type: 'error', error: upstreamError([event.error.type], event.error.message) }];
        case 'content_block_start':
        case 'content_block_delta':
        case 'content_block_stop':
          return readBlock.read(event);
      }
    },
    finish,
  });
}

type BlockEvent = Extract<Event, { index: number }>;

/** Blocks come one after the other. */
function createBlockReader() {
  let calls = 0;
  let open: { index: number; kind: 'text' | 'call' | 'thinking'; argued: boolean } | undefined;
  let wasText = false;
  /** A text right behind another one is a block of its own, too. */
  let begins: true | undefined;
  const begin = (event: Extract<BlockEvent, { type: 'content_block_start' }>): PivotEvent[] => {
    const { type, text, id, name, data } = event.content_block;
    const kind =
      type === 'text' ? 'text' : type === 'tool_use' ? 'call' : type.endsWith('thinking') ? 'thinking' : undefined;
    if (!kind) return unreadable(`a block of the kind ${type.slice(0, 60)} has no counterpart`);
    open = { index: event.index, kind, argued: false };
    begins = kind === 'text' && wasText ? true : undefined;
    wasText = kind === 'text';
    if (kind === 'text') return text ? [sayText(text)] : [];
    if (kind === 'thinking') return [{ type: 'thinking', of: 'anthropic', delta: '', begins: true, redacted: data }];
    if (!id || !name) return unreadable('a tool call has no id or no name');
    calls += 1;
    return [{ type: 'toolCallStart', index: calls - 1, id, name }];
  };
  const extend = (event: Extract<BlockEvent, { type: 'content_block_delta' }>): PivotEvent[] => {
    const { text, partial_json, thinking, signature } = event.delta;
    if (open?.index !== event.index) return unreadable('its blocks are mixed');
    if (open.kind === 'text' && text) return [sayText(text)];
    if (open.kind === 'thinking' && (thinking || signature !== undefined))
      return [{ type: 'thinking', of: 'anthropic', delta: thinking ?? '', signature }];
    if (open.kind !== 'call' || !partial_json) return [];
    open.argued = true;
    return [{ type: 'toolCallArgs', index: calls - 1, delta: partial_json }];
  };
  const sayText = (delta: string): PivotEvent => {
    const event: PivotEvent = { type: 'text', delta, ...(begins ? { begins } : {}) };
    begins = undefined;
    return event;
  };
  return {
    calls: () => calls,
    read(event: BlockEvent): PivotEvent[] {
      if (event.type === 'content_block_start') return begin(event);
      if (event.type === 'content_block_delta') return extend(event);
      // Here a call without arguments has no text; elsewhere it has that of an empty object.
      const silent = open?.kind === 'call' && !open.argued;
      open = undefined;
      return silent ? [{ type: 'toolCallArgs', index: calls - 1, delta: '{}' }] : [];
    },
  };
}

const send = (data: JsonObject & { type: string }) => writeSse(data, data.type);

/** Writes the events of a streamed message. */
export function createEventWriter({ request, model }: Pick<Reply, 'request' | 'model'>): EventWriter {
  const shown = shownTo(request);
  let usage: Usage | undefined;
  let blocks = 0;
  let open: 'text' | 'call' | 'thinking' | undefined;
  let thought: ThinkingPart | undefined;
  let over = false;

  const close = () => {
    const signed = thought && extend({ type: 'signature_delta', signature: signThinking({ ...thought, model }) });
    const text = open ? `${signed ?? ''}${send({ type: 'content_block_stop', index: blocks - 1 })}` : '';
    open = undefined;
    thought = undefined;
    return text;
  };
  const think = ({ of, delta, begins, id, signature }: ThinkingEvent) => {
    // What Claude thought comes to this wire's clients as it is, and never by here.
    if (shown === 'none' || of === 'anthropic') return '';
    const goesOn = open === 'thinking' && !(begins && thought?.signature !== undefined);
    const begun = goesOn ? '' : begin('thinking', { type: 'thinking', thinking: '', signature: '' });
    thought = { type: 'thinking', of, text: clipThought((thought?.text ?? '') + delta), id, signature };
    return shown === 'shown' && delta !== '' ? `${begun}${extend({ type: 'thinking_delta', thinking: delta })}` : begun;
  };
  const begin = (kind: 'text' | 'call' | 'thinking', content_block: JsonObject) => {
    const text = `${close()}${send({ type: 'content_block_start', index: blocks, content_block })}`;
    open = kind;
    blocks += 1;
    return text;
  };
  const extend = (delta: JsonObject) => send({ type: 'content_block_delta', index: blocks - 1, delta });
  const fail = (error: WireError) => {
    over = true;
    return writeSse(writeAnthropicError(error), 'error');
  };

  const write = (event: PivotEvent): string => {
    switch (event.type) {
      case 'start':
        usage = event.usage;
        return send({ type: 'message_start', message: startOf(event) });
      case 'text':
      case 'refusal': {
        const begun = open === 'text' ? '' : begin('text', { type: 'text', text: '', citations: null });
        return `${begun}${extend({ type: 'text_delta', text: event.delta })}`;
      }
      case 'thinking':
        return think(event);
      case 'toolCallStart': {
        const { id, name } = event;
        return begin('call', { type: 'tool_use', id, name, input: {}, caller: { type: 'direct' } });
      }
      case 'toolCallArgs':
        return extend({ type: 'input_json_delta', partial_json: event.delta });
      case 'usage':
        usage = event.usage;
        return '';
      case 'stop': {
        over = true;
        const delta = { container: null, ...writeStop(event.reason, event.stopSequence) };
        const last = send({ type: 'message_delta', delta, usage: writeAnthropicUsage(usage) });
        return `${close()}${last}${send({ type: 'message_stop' })}`;
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

const startOf = ({ id, model, usage }: Extract<PivotEvent, { type: 'start' }>): JsonObject => ({
  id: messageId(id),
  type: 'message',
  role: 'assistant',
  model,
  content: [],
  container: null,
  stop_reason: null,
  stop_sequence: null,
  stop_details: null,
  usage: writeAnthropicUsage(usage),
});
