import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { hasOf, madeId, settle } from '../answers.ts';
import { toFailure, upstreamError } from '../errors.ts';
import type { PivotAnswer, PivotStop, ThinkingPart, WireError } from '../pivot.ts';
import { usageIn } from '../usage.ts';

const text = z.string().nullish().catch(undefined);

/** Reasoning as it is told when it is whole. */
export const Reasoning = z.looseObject({
  type: z.literal('reasoning'),
  id: z.string(),
  summary: z.array(z.looseObject({ text: z.string() })).catch([]),
  encrypted_content: text,
});
export const FunctionCall = z.looseObject({
  type: z.literal('function_call'),
  call_id: z.string().min(1),
  name: z.string().min(1),
  arguments: z.string().catch(''),
});
const Part = z.union([
  z.looseObject({ type: z.literal('output_text'), text: z.string() }),
  z.looseObject({ type: z.literal('refusal'), refusal: z.string() }),
  // What is new says nothing.
  z.looseObject({ type: z.string() }).transform(() => undefined),
]);
const Message = z.looseObject({ type: z.literal('message'), content: z.array(Part) });

/** How a response ended, in a whole one and in the last event of a stream. */
export const Ended = z.looseObject({
  id: z.string().catch(''),
  model: z.string().catch(''),
  status: z.string(),
  incomplete_details: z.looseObject({ reason: text }).nullish().catch(undefined),
  error: z.looseObject({ code: text, message: text }).nullish().catch(undefined),
});
type Ended = z.infer<typeof Ended>;

const Body = Ended.extend({ output: z.array(z.looseObject({ type: z.string() })) });

/** The thinking of an item; undefined: it has nothing that could go back. */
export function thinkingIn({
  id,
  summary,
  encrypted_content: sealed,
}: z.infer<typeof Reasoning>): ThinkingPart | undefined {
  if (!sealed) return undefined;
  const shown = summary.map((part) => part.text).join('\n\n');
  return { type: 'thinking', of: 'openai-responses', text: shown, id, signature: sealed };
}

/** Why a response ended; an error where it is none. */
export function readStop({ status, incomplete_details, error }: Ended): PivotStop | WireError {
  if (status === 'completed') return 'end';
  if (status === 'incomplete') return incomplete_details?.reason === 'content_filter' ? 'refusal' : 'length';
  return upstreamError([error?.code ?? 'server_error'], error?.message ?? `its status is "${status.slice(0, 40)}"`);
}

/** The body of an answer of POST /v1/responses. Throws `upstream` where it is none. */
export function readAnswer(body: unknown): PivotAnswer {
  const parsed = Body.safeParse(body);
  if (!parsed.success)
    throw new Failure('upstream', `the model's answer cannot be read: ${z.prettifyError(parsed.error)}`);
  const stop = readStop(parsed.data);
  if (typeof stop === 'object') throw toFailure(stop);
  const parts = parsed.data.output.flatMap(partsIn);
  return {
    id: parsed.data.id || madeId('resp_'),
    model: parsed.data.model,
    parts,
    stopReason: settle(stop, hasOf(parts)),
    usage: usageIn(body),
  };
}

function partsIn(item: z.infer<typeof Body>['output'][number]): PivotAnswer['parts'] {
  if (item.type === 'reasoning') {
    const thinking = thinkingIn(read(Reasoning, item));
    return thinking ? [thinking] : [];
  }
  if (item.type === 'function_call') {
    const { call_id: id, name, arguments: args } = read(FunctionCall, item);
    return [{ type: 'toolCall', id, name, args: args.trim() || '{}' }];
  }
  if (item.type !== 'message') return [];
  return read(Message, item).content.flatMap((part): PivotAnswer['parts'] => {
    if (!part) return [];
    const said = 'text' in part ? part.text : part.refusal;
    return said === '' ? [] : [{ type: part.type === 'output_text' ? 'text' : 'refusal', text: String(said) }];
  });
}

function read<S extends z.ZodType>(schema: S, item: unknown): z.infer<S> {
  const { data, error } = schema.safeParse(item);
  if (error) throw new Failure('upstream', `the model's answer cannot be read: ${z.prettifyError(error)}`);
  return data;
}
