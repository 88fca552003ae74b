import { z } from 'zod';
import type { Usage } from '#shared/contracts/llm.ts';
import { createReader, settle } from '../answers.ts';
import { broken, cutOff, upstreamError, writeOpenAiError } from '../errors.ts';
import type { EventReader, EventWriter, JsonObject, PivotEvent, PivotStop, Reply } from '../pivot.ts';
import { writeSse } from '../sse.ts';
import { usageIn, writeChatUsage } from '../usage.ts';
import { chatId, readStop, writeStop } from './answer.ts';

const text = z.string().nullish();
const CallDelta = z.looseObject({
  index: z.int().nonnegative().nullish(),
  id: text,
  function: z.looseObject({ name: text, arguments: text }).nullish(),
});
type CallDelta = z.infer<typeof CallDelta>;

const Chunk = z.looseObject({
  id: text,
  model: text,
  choices: z
    .array(
      z.looseObject({
        delta: z
          .looseObject({
            content: text,
            refusal: text,
            reasoning_content: text.catch(undefined),
            tool_calls: z.array(CallDelta).nullish(),
          })
          .nullish(),
        finish_reason: text,
      }),
    )
    .nullish(),
  error: z
    .union([
      z.looseObject({ message: z.unknown().optional(), type: z.unknown().optional(), code: z.unknown().optional() }),
      z.string(),
    ])
    .nullish(),
});

/** Reads the chunks of a streamed chat completion. */
export function createEventReader(): EventReader {
  const calls = createCallReader();
  let started = false;
  let reason: PivotStop | undefined;
  let usage: Usage | undefined;
  const has = { calls: false, refusal: false };

  return createReader({
    step(data) {
      const chunk = Chunk.safeParse(data).data;
      if (!chunk)
        return [{ type: 'error', error: broken('the answer cannot be read: a chunk is not as it should be') }];
      if (typeof chunk.error === 'string') return [{ type: 'error', error: upstreamError([], chunk.error) }];
      if (chunk.error) {
        return [{ type: 'error', error: upstreamError([chunk.error.code, chunk.error.type], chunk.error.message) }];
      }
      usage = usageIn(data, usage) ?? usage;
      const choice = chunk.choices?.[0];
      const { content, refusal, reasoning_content: thinking, tool_calls } = choice?.delta ?? {};
      const events: PivotEvent[] = [];
      if (!started) events.push({ type: 'start', id: chunk.id ?? '', model: chunk.model ?? '' });
      started = true;
      if (thinking) events.push({ type: 'thinking', of: 'openai-chat', delta: thinking });
      if (content) events.push({ type: 'text', delta: content });
      if (refusal) events.push({ type: 'refusal', delta: refusal });
      for (const delta of tool_calls ?? []) events.push(...calls.read(delta));
      has.refusal ||= Boolean(refusal);
      has.calls ||= (tool_calls ?? []).length > 0;
      if (choice?.finish_reason) reason = readStop(choice.finish_reason);
      // Nothing follows an error, not even in its own chunk.
      const error = events.findIndex(({ type }) => type === 'error');
      return error < 0 ? events : events.slice(0, error + 1);
    },
    // The usage comes after the reason, so the reason waits for the end.
    finish() {
      if (!reason) return undefined;
      return [
        ...(reason === 'length' ? [] : calls.close()),
        ...(usage ? [{ type: 'usage' as const, usage }] : []),
        { type: 'stop', reason: settle(reason, has) },
      ];
    },
  });
}

/**
 * Servers differ: some leave out a call's id or place, some give every call the same place, some say its name again. A call that
 * goes on after another has begun cannot be told on other wires.
 */
function createCallReader() {
  const seen = new Set<number>();
  let count = 0;
  let current: { place: number; id: string; argued: boolean } | undefined;
  /** A call without arguments has those of an empty object. */
  const close = (): PivotEvent[] => {
    const silent = current && !current.argued;
    current = undefined;
    return silent ? [{ type: 'toolCallArgs', index: count - 1, delta: '{}' }] : [];
  };
  const begin = (place: number, id: string | null | undefined, name: string | null | undefined): PivotEvent[] => {
    if (!name && seen.has(place)) return [{ type: 'error', error: broken('the answer mixes its tool calls') }];
    if (!name) return [{ type: 'error', error: broken('the answer calls a tool without a name') }];
    const closed = close();
    count += 1;
    seen.add(place);
    current = { place, id: id || `call_${count}`, argued: false };
    return [...closed, { type: 'toolCallStart', index: count - 1, id: current.id, name }];
  };
  return {
    close,
    read({ index, id, function: called }: CallDelta): PivotEvent[] {
      const { name, arguments: args } = called ?? {};
      const place = index ?? (name || !current ? count : current.place);
      const goesOn = current?.place === place && !(name && id && current.id !== id);
      const begun = goesOn ? [] : begin(place, id, name);
      if (!args || !current) return begun;
      current.argued = true;
      return [...begun, { type: 'toolCallArgs', index: count - 1, delta: args }];
    },
  };
}

/** Writes the chunks of a streamed chat completion. */
export function createEventWriter({ request, createdS }: Reply): EventWriter {
  let head: JsonObject = {};
  let usage: Usage | undefined;
  let refused = false;
  let over = false;
  const chunk = (delta: JsonObject, finish_reason: string | null = null) =>
    writeSse({ ...head, choices: [{ index: 0, delta, logprobs: null, finish_reason }] });
  const fail = (event: Extract<PivotEvent, { type: 'error' }>) => {
    over = true;
    return writeSse(writeOpenAiError(event.error));
  };

  const write = (event: PivotEvent): string => {
    switch (event.type) {
      case 'start':
        head = { id: chatId(event.id), object: 'chat.completion.chunk', created: createdS, model: event.model };
        usage = event.usage;
        return chunk({ role: 'assistant', content: '', refusal: null });
      case 'text':
        return chunk({ content: event.delta });
      case 'refusal':
        refused = true;
        return chunk({ refusal: event.delta });
      case 'thinking':
        return '';
      case 'toolCallStart': {
        const { index, id, name } = event;
        return chunk({ tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] });
      }
      case 'toolCallArgs':
        return chunk({ tool_calls: [{ index: event.index, function: { arguments: event.delta } }] });
      case 'usage':
        usage = event.usage;
        return '';
      case 'stop': {
        over = true;
        const last =
          request.includeUsage && usage ? writeSse({ ...head, choices: [], usage: writeChatUsage(usage) }) : '';
        return `${chunk({}, writeStop(event.reason, refused))}${last}data: [DONE]\n\n`;
      }
      case 'error':
        return fail(event);
    }
  };
  return {
    write: (event) => (over ? '' : write(event)),
    end: () => (over ? '' : fail({ type: 'error', error: cutOff })),
  };
}
