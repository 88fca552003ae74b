import { bareId } from '../answers.ts';
import type { CallPart, JsonObject, PivotAnswer, PivotRequest, RefusalPart, Reply, TextPart } from '../pivot.ts';
import { writeResponsesUsage } from '../usage.ts';

/** One item of a response's output: what was said until a call, or a call. */
export type Item = { type: 'message'; parts: (TextPart | RefusalPart)[] } | { type: 'call'; call: CallPart };

export type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

function itemsOf(parts: PivotAnswer['parts']): Item[] {
  const items: Item[] = [];
  for (const part of parts) {
    const last = items.at(-1);
    if (part.type === 'thinking') continue;
    if (part.type === 'toolCall') items.push({ type: 'call', call: part });
    else if (last?.type === 'message') last.parts.push(part);
    else items.push({ type: 'message', parts: [part] });
  }
  return items;
}

/** An item's id, out of its answer's and its place. */
export const itemId = (answerId: string, index: number, type: Item['type']): string =>
  `${type === 'message' ? 'msg' : 'fc'}_${bareId(answerId)}_${index}`;

export const writePart = (part: TextPart | RefusalPart): JsonObject =>
  part.type === 'text'
    ? { type: 'output_text', text: part.text, annotations: [], logprobs: [] }
    : { type: 'refusal', refusal: part.text };

/** An item of `output`. */
export function writeItem(answerId: string, index: number, item: Item, status: ItemStatus): JsonObject {
  const id = itemId(answerId, index, item.type);
  if (item.type === 'message') {
    return { id, type: 'message', role: 'assistant', status, content: item.parts.map(writePart) };
  }
  const { id: call_id, name, args } = item.call;
  return { id, type: 'function_call', status, call_id, name, arguments: args };
}

/** A response that is not at its end yet, or will have none. */
export function writeHead(
  { id, model }: Pick<PivotAnswer, 'id' | 'model'>,
  { request, createdS }: Reply,
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
    store: false,
    temperature: request.temperature ?? null,
    text: { format: writeFormat(request.responseFormat) },
    tool_choice:
      typeof request.toolChoice === 'object' ? { type: 'function', name: request.toolChoice.name } : request.toolChoice,
    tools: request.tools.map(({ name, description = null, schema, strict = null }) => ({
      type: 'function',
      name,
      description,
      parameters: schema,
      strict,
    })),
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
  const items = itemsOf(answer.parts);
  return {
    ...writeHead(answer, reply),
    status: cut ? 'incomplete' : 'completed',
    incomplete_details: cut ? { reason: cut } : null,
    output: items.map((item, index) =>
      writeItem(id, index, item, cut && index === items.length - 1 ? 'incomplete' : 'completed'),
    ),
    usage: usage ? writeResponsesUsage(usage) : null,
  };
}
