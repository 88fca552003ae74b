import { bareId } from '../answers.ts';
import { inputOfArgs, originOf } from '../custom-tools.ts';
import type {
  CallPart,
  JsonObject,
  PivotAnswer,
  PivotRequest,
  RefusalPart,
  Reply,
  TextPart,
  ToolOrigin,
} from '../pivot.ts';
import { writeResponsesUsage } from '../usage.ts';
import { writeTool } from './tools.ts';

/** One item of a response's output: what was said until a call, or a call. */
export type Item =
  | { type: 'message'; parts: (TextPart | RefusalPart)[] }
  | { type: 'call'; call: CallPart; origin: ToolOrigin };

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

function itemsOf(parts: PivotAnswer['parts'], { tools }: PivotRequest): Item[] {
  const items: Item[] = [];
  for (const part of parts) {
    const last = items.at(-1);
    if (part.type === 'thinking') continue;
    if (part.type === 'toolCall') items.push({ type: 'call', call: part, origin: originOf(tools, part) });
    else if (last?.type === 'message') last.parts.push(part);
    else items.push({ type: 'message', parts: [part] });
  }
  return items;
}

/** An item's id, out of its answer's and its place. */
export const itemId = (answerId: string, index: number, item: Item): string =>
  `${prefixOf(item)}_${bareId(answerId)}_${index}`;
const prefixOf = (item: Item) => (item.type === 'message' ? 'msg' : item.origin.kind === 'custom' ? 'ctc' : 'fc');

export const writePart = (part: TextPart | RefusalPart): JsonObject =>
  part.type === 'text'
    ? { type: 'output_text', text: part.text, annotations: [], logprobs: [] }
    : { type: 'refusal', refusal: part.text };

/** An item of `output`. */
export function writeItem(answerId: string, index: number, item: Item, status: ItemStatus): JsonObject {
  const id = itemId(answerId, index, item);
  if (item.type === 'message') {
    return { id, type: 'message', role: 'assistant', status, content: item.parts.map(writePart) };
  }
  const { id: call_id, args } = item.call;
  const { kind, name, namespace } = item.origin;
  const called = { id, status, call_id, name, ...(namespace === undefined ? {} : { namespace }) };
  if (kind === 'custom') return { ...called, type: 'custom_tool_call', input: inputOfArgs(args) };
  return { ...called, type: 'function_call', arguments: args };
}

/** A response that is not at its end yet, or will have none. */
export function writeHead(
  { id, model }: Pick<PivotAnswer, 'id' | 'model'>,
  { request, createdS, keep }: Reply,
  status: 'in_progress' | 'failed' = 'in_progress',
): JsonObject {
  return {
    id: `resp_${bareId(id)}`,
    object: 'response',
    created_at: createdS,
    status,
    background: false,
    error: null,
    incomplete_details: null,
    instructions: null,
    max_output_tokens: request.maxTokens,
    metadata: {},
    model,
    output: [],
    parallel_tool_calls: request.parallelToolCalls ?? true,
    previous_response_id: null,
    store: keep !== undefined,
    temperature: request.temperature ?? null,
    text: { format: writeFormat(request.responseFormat) },
    tool_choice:
      typeof request.toolChoice === 'object'
        ? { type: 'function', name: originOf(request.tools, request.toolChoice).name }
        : request.toolChoice,
    tools: request.tools.map(writeTool),
    top_p: request.topP ?? null,
    truncation: 'disabled',
    usage: null,
  };
}

function writeFormat(format: PivotRequest['responseFormat']): JsonObject {
  if (format === 'text') return { type: 'text' };
  return format === 'json' ? { type: 'json_object' } : { type: 'json_schema', ...format };
}

/** The answer as POST /v1/responses gives it. */
export function writeAnswer(answer: PivotAnswer, reply: Reply): JsonObject {
  const { id, stopReason, usage } = answer;
  const refusedInWords = answer.parts.some(({ type }) => type === 'refusal');
  const cut =
    stopReason === 'length'
      ? 'max_output_tokens'
      : stopReason === 'refusal' && !refusedInWords
        ? 'content_filter'
        : undefined;
  const items = itemsOf(answer.parts, reply.request);
  const response = {
    ...writeHead(answer, reply),
    status: cut ? 'incomplete' : 'completed',
    incomplete_details: cut ? { reason: cut } : null,
    output: items.map((item, index) =>
      writeItem(id, index, item, cut && index === items.length - 1 ? 'incomplete' : 'completed'),
    ),
    usage: usage ? writeResponsesUsage(usage) : null,
  };
  reply.keep?.(response);
  return response;
}
