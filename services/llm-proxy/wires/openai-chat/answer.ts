import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { bareId, hasOf, madeId, settle } from '../answers.ts';
import { inputOfArgs, originOf } from '../custom-tools.ts';
import type { CallPart, JsonObject, PivotAnswer, PivotStop, Reply } from '../pivot.ts';
import { usageIn, writeChatUsage } from '../usage.ts';
import { errorOfReason } from './error-in.ts';
import { Call, saidFields, saidIn } from './said.ts';

const Body = z.looseObject({
  id: z.string().catch(''),
  model: z.string().catch(''),
  choices: z
    .array(
      z.looseObject({
        finish_reason: z.string().nullish(),
        message: z.looseObject({
          ...saidFields,
          tool_calls: z.array(Call.refine(({ name }) => name !== '', 'must have a name')).nullish(),
        }),
      }),
    )
    .min(1),
});

const stopReasons = new Map<string, PivotStop>([
  ['stop', 'end'],
  ['tool_calls', 'tool-calls'],
  ['function_call', 'tool-calls'],
  ['length', 'length'],
  // Mistral: the model's own limit.
  ['model_length', 'length'],
  ['content_filter', 'refusal'],
]);

/** A `finish_reason`; a word that is not known is an end like any. */
export const readStop = (reason: string): PivotStop => stopReasons.get(reason) ?? 'end';

/** The body of an answer of POST /v1/chat/completions. Throws `upstream` where it is none. */
export function readAnswer(body: unknown): PivotAnswer {
  const parsed = Body.safeParse(body);
  const choice = parsed.data?.choices[0];
  if (!parsed.success || !choice) {
    throw new Failure(
      'upstream',
      `the model's answer cannot be read: ${parsed.error ? z.prettifyError(parsed.error) : ''}`,
    );
  }
  const error = errorOfReason(choice.finish_reason);
  if (error) throw new Failure(error.code === 'unavailable' ? 'unavailable' : 'upstream', error.message);
  const parts: PivotAnswer['parts'] = [
    ...saidIn(choice.message).map((part) =>
      part.type === 'thinking'
        ? { ...part, type: part.type, of: 'openai-chat' as const }
        : { ...part, type: part.type },
    ),
    ...callsIn(choice.message.tool_calls ?? []),
  ];
  return {
    id: parsed.data.id || madeId('chatcmpl-'),
    model: parsed.data.model,
    parts,
    stopReason: settle(readStop(choice.finish_reason || 'stop'), hasOf(parts)),
    usage: usageIn(body),
  };
}

/** An id that is missing, or there twice, would make two results of one. */
function callsIn(calls: readonly z.infer<typeof Call>[]): CallPart[] {
  const ids = new Set<string>();
  return calls.map(({ id: given, name, args }) => {
    const id = given === '' || ids.has(given) ? madeId('call_') : given;
    ids.add(id);
    return { type: 'toolCall', id, name, args: args.trim() || '{}' };
  });
}

const finishReasons: Record<PivotStop, string> = {
  end: 'stop',
  'tool-calls': 'tool_calls',
  length: 'length',
  'stop-sequence': 'stop',
  refusal: 'content_filter',
};

/** A `finish_reason`: OpenAI calls a refusal in words a stop like any. */
export const writeStop = (reason: PivotStop, inWords: boolean): string =>
  reason === 'refusal' && inWords ? 'stop' : finishReasons[reason];

export const chatId = (id: string): string => `chatcmpl-${bareId(id)}`;

/** The answer as POST /v1/chat/completions gives it. */
export function writeAnswer({ id, model, parts, stopReason, usage }: PivotAnswer, reply: Reply): JsonObject {
  const { request, createdS } = reply;
  const text = parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  const refusal = parts.map((part) => (part.type === 'refusal' ? part.text : '')).join('');
  const calls = parts
    .filter((part) => part.type === 'toolCall')
    .map((part) =>
      originOf(request.tools, part).kind === 'custom'
        ? { id: part.id, type: 'custom', custom: { name: part.name, input: inputOfArgs(part.args) } }
        : { id: part.id, type: 'function', function: { name: part.name, arguments: part.args } },
    );
  const message = {
    role: 'assistant',
    content: text === '' && (calls.length > 0 || refusal !== '') ? null : text,
    refusal: refusal === '' ? null : refusal,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
  return {
    id: chatId(id),
    object: 'chat.completion',
    created: createdS,
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: writeStop(stopReason, refusal !== '') }],
    ...(usage ? { usage: writeChatUsage(usage) } : {}),
  };
}
