import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { bareId, hasOf, settle } from '../answers.ts';
import type { JsonObject, PivotAnswer, PivotStop, Reply, ThinkingPart } from '../pivot.ts';
import { parseArgs } from '../read.ts';
import { usageIn, writeAnthropicUsage } from '../usage.ts';
import { writeThinking } from './carried-thinking.ts';

type Part = PivotAnswer['parts'][number];

const Block = z.discriminatedUnion('type', [
  z
    .looseObject({ type: z.literal('text'), text: z.string() })
    .transform(({ text }): Part[] => (text === '' ? [] : [{ type: 'text', text }])),
  z
    .looseObject({
      type: z.literal('tool_use'),
      id: z.string().min(1),
      name: z.string().min(1),
      input: z.record(z.string(), z.unknown()),
    })
    .transform(({ id, name, input }): Part[] => [{ type: 'toolCall', id, name, args: JSON.stringify(input) }]),
  z
    .looseObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string().optional() })
    .transform(({ thinking, signature }): Part[] => [{ type: 'thinking', of: 'anthropic', text: thinking, signature }]),
  z
    .looseObject({ type: z.literal('redacted_thinking'), data: z.string() })
    .transform(({ data }): Part[] => [{ type: 'thinking', of: 'anthropic', text: '', redacted: data }]),
]);

const Body = z.looseObject({
  id: z.string(),
  model: z.string(),
  content: z.array(Block),
  stop_reason: z.string(),
  stop_sequence: z.string().nullish(),
});

const stopReasons = new Map<string, PivotStop>([
  ['end_turn', 'end'],
  ['pause_turn', 'end'],
  ['stop_sequence', 'stop-sequence'],
  ['tool_use', 'tool-calls'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['refusal', 'refusal'],
]);

/** A `stop_reason`; a word that is not known is an end like any. */
export const readStop = (reason: string): PivotStop => stopReasons.get(reason) ?? 'end';

/** The body of an answer of POST /v1/messages. Throws `upstream` where it is none, or has what no other wire can carry. */
export function readAnswer(body: unknown): PivotAnswer {
  const { data, error } = Body.safeParse(body);
  if (!data) throw new Failure('upstream', `the model's answer cannot be read: ${z.prettifyError(error)}`);
  const parts = data.content.flat();
  return {
    id: data.id,
    model: data.model,
    parts,
    stopReason: settle(readStop(data.stop_reason), hasOf(parts)),
    stopSequence: data.stop_sequence ?? undefined,
    usage: usageIn(body),
  };
}

const words: Record<PivotStop, string> = {
  end: 'end_turn',
  'tool-calls': 'tool_use',
  length: 'max_tokens',
  'stop-sequence': 'stop_sequence',
  refusal: 'refusal',
};

export const messageId = (id: string): string => `msg_${bareId(id)}`;

/** How a message ended. */
export const writeStop = (reason: PivotStop, stopSequence: string | undefined) => ({
  stop_reason: words[reason],
  stop_sequence: stopSequence ?? null,
  stop_details: null,
});

/** The answer as POST /v1/messages gives it. Throws `upstream` where a call's arguments are no object. */
export function writeAnswer(answer: PivotAnswer, reply: Pick<Reply, 'request' | 'model'>): JsonObject {
  const { id, model, parts, stopReason, stopSequence, usage } = answer;
  return {
    id: messageId(id),
    type: 'message',
    role: 'assistant',
    model,
    content: parts.flatMap((part) =>
      part.type === 'thinking' ? writeThinking(part, reply) : writeBlock(part, stopReason),
    ),
    container: null,
    ...writeStop(stopReason, stopSequence),
    usage: writeAnthropicUsage(usage),
  };
}

function writeBlock(part: Exclude<Part, ThinkingPart>, stopReason: PivotStop): JsonObject[] {
  if (part.type !== 'toolCall') return part.text === '' ? [] : [{ type: 'text', text: part.text, citations: null }];
  const input = parseArgs(part.args);
  if (input) return [{ type: 'tool_use', id: part.id, name: part.name, input, caller: { type: 'direct' } }];
  // Out of tokens in the middle of a call: there is no such call.
  if (stopReason === 'length') return [];
  throw new Failure('upstream', `the model called ${part.name} with arguments that are no JSON object`);
}
