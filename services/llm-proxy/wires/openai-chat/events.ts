import { z } from 'zod';
import type { Usage } from '#shared/contracts/llm.ts';
import { createReader, madeId, settle } from '../answers.ts';
import { broken, cutOff, writeOpenAiError } from '../errors.ts';
import { createInOrder } from '../in-order.ts';
import type { EventReader, EventWriter, JsonObject, PivotEvent, PivotStop, Reply } from '../pivot.ts';
import { writeSse } from '../sse.ts';
import { usageIn, writeChatUsage } from '../usage.ts';
import { chatId, readStop, writeStop } from './answer.ts';
import { createCallWriter } from './call-writer.ts';
import { createCallReader } from './calls.ts';
import { errorIn, errorOfReason } from './error-in.ts';
import { Call, saidFields, saidIn } from './said.ts';

const text = z.string().nullish();
const Choice = z.looseObject({
  delta: z.looseObject({ ...saidFields, tool_calls: z.array(Call).nullish() }).nullish(),
  finish_reason: text,
});
const Chunk = z.looseObject({ id: text, model: text, choices: z.array(Choice).nullish() });
type Choice = z.infer<typeof Choice>;

/** Reads the chunks of a streamed chat completion. What has no choices, a usage or a ping, says nothing more. */
export function createEventReader(): EventReader {
  const order = createInOrder();
  const readCall = createCallReader(order);
  let started = false;
  let reason: PivotStop | undefined;
  let usage: Usage | undefined;
  const has = { calls: false, refusal: false };

  const readChoice = ({ delta, finish_reason }: Choice): PivotEvent[] => {
    const said = saidIn(delta ?? {});
    const calls = delta?.tool_calls ?? [];
    has.refusal ||= said.some(({ type }) => type === 'refusal');
    has.calls ||= calls.length > 0;
    if (finish_reason) reason = readStop(finish_reason);
    const error = errorOfReason(finish_reason);
    return [
      ...said.flatMap(({ type, text: delta }) =>
        order.say(type === 'thinking' ? { type, of: 'openai-chat', delta } : { type, delta }),
      ),
      ...calls.flatMap(readCall),
      ...(error ? [{ type: 'error' as const, error }] : []),
    ];
  };
  return createReader({
    step(data, name) {
      const error = errorIn(data, name);
      if (error) return [{ type: 'error', error }];
      const chunk = Chunk.safeParse(data).data;
      if (!chunk)
        return [{ type: 'error', error: broken('the answer cannot be read: a chunk is not as it should be') }];
      usage = usageIn(data, usage) ?? usage;
      const [choice] = chunk.choices ?? [];
      if (!choice) return [];
      const begun: PivotEvent[] = started
        ? []
        : [{ type: 'start', id: chunk.id || madeId('chatcmpl-'), model: chunk.model ?? '' }];
      started = true;
      return [...begun, ...readChoice(choice)];
    },
    // The usage comes after the reason, so the reason waits for the end.
    finish(isDone) {
      // Some servers say that they are done, and not why.
      if (!reason && !(isDone && started && order.isWhole())) return undefined;
      const ended = reason ?? 'end';
      return [
        ...order.close(ended === 'length'),
        ...(usage ? [{ type: 'usage' as const, usage }] : []),
        { type: 'stop', reason: settle(ended, has) },
      ];
    },
  });
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

  const calls = createCallWriter(request, (call) => chunk({ tool_calls: [call] }));

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
      case 'toolCallStart':
        return calls.begin(event);
      case 'toolCallArgs':
        return calls.add(event);
      case 'usage':
        usage = event.usage;
        return '';
      case 'stop': {
        over = true;
        const last =
          request.includeUsage && usage ? writeSse({ ...head, choices: [], usage: writeChatUsage(usage) }) : '';
        return `${calls.end()}${chunk({}, writeStop(event.reason, refused))}${last}data: [DONE]\n\n`;
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
