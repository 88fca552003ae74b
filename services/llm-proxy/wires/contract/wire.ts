import type { Answer, ChatInput, ChatMessage, Image, Usage } from '#shared/contracts/llm.ts';
import type { Problem } from '#shared/errors.ts';
import { callsOf, fieldOf, imagesOf, textOf } from '../conversation.ts';
import type { PivotAnswer, PivotEvent, PivotMessage, PivotRequest } from '../pivot.ts';
import { parseArgs, untranslatable } from '../read.ts';

/** The request as our own contract has it. Throws `invalid` with a problem for each field that it cannot carry. */
export function toChatRequest(request: PivotRequest): ChatInput {
  const problems = problemsOf(request);
  if (problems.length > 0) throw untranslatable(problems);
  const late = request.messages.flatMap((message) => (message.role === 'system' ? message.parts : []));
  const { toolChoice, maxTokens, temperature } = request;
  return {
    model: request.model,
    // One place for all of it: the contract has no other.
    system: [...request.system, ...late].map(({ text }) => text).join('\n\n'),
    messages: request.messages.flatMap(toMessage),
    tools:
      toolChoice === 'none'
        ? []
        : request.tools.map(({ name, description = '', schema }) => ({ name, description, inputSchema: schema })),
    toolChoice: typeof toolChoice === 'object' ? toolChoice : onlyTool(request),
    ...(maxTokens === null ? {} : { maxOutputTokens: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
  };
}

/** `required` with one tool is that tool. */
const onlyTool = ({ toolChoice, tools: [first] }: PivotRequest) =>
  toolChoice === 'required' && first ? { name: first.name } : ('auto' as const);

function problemsOf(request: PivotRequest): Problem[] {
  const field = fieldOf(request, 'messages');
  const none = 'has no counterpart for this model; leave it out';
  return [
    ...(request.stop.length > 0 ? [{ field: fieldOf(request, 'stop'), message: none }] : []),
    ...(request.responseFormat === 'text' ? [] : [{ field: fieldOf(request, 'responseFormat'), message: none }]),
    ...(request.topK === undefined ? [] : [{ field: fieldOf(request, 'topK'), message: none }]),
    ...(request.topP === undefined || request.topP === 1 ? [] : [{ field: 'top_p', message: none }]),
    ...(request.toolChoice === 'required' && request.tools.length > 1
      ? [{ field: 'tool_choice', message: 'must name the tool; this model takes no choice of several' }]
      : []),
    ...(request.messages.some(hasFile) ? [{ field, message: 'have a PDF, which this model does not take' }] : []),
    ...(request.messages.some(isSeen) ? [{ field, message: 'have a picture, which this model cannot see there' }] : []),
  ];
}

const hasFile = ({ parts }: PivotMessage) => parts.some(({ type }) => type === 'file');

/** A result of a tool may have one picture that is sent with it. */
function isSeen(message: PivotMessage): boolean {
  if (message.role !== 'user' && message.role !== 'tool') return false;
  const images = imagesOf(message.parts);
  if (message.role === 'user') return images.length > 0;
  return images.length > 1 || images.some(({ source }) => source.kind === 'url');
}

function toMessage(message: PivotMessage): ChatMessage[] {
  const text = textOf(message.parts);
  switch (message.role) {
    case 'system':
      return [];
    case 'user':
      return [{ role: 'user', text }];
    case 'tool': {
      const image = toImage(message.parts);
      return [{ role: 'tool', callId: message.callId, text, isError: message.isError, ...(image ? { image } : {}) }];
    }
    case 'assistant': {
      const toolCalls = callsOf(message.parts).map(({ id, name, args }) => ({
        callId: id,
        tool: name,
        args: parseArgs(args) ?? {},
      }));
      return [{ role: 'assistant', text, toolCalls }];
    }
  }
}

function toImage(parts: Extract<PivotMessage, { role: 'tool' }>['parts']): Image | undefined {
  const source = imagesOf(parts)[0]?.source;
  return source?.kind === 'base64' ? { mediaType: source.mediaType, base64: source.data } : undefined;
}

/** An answer of our own contract as any wire can write it. `id`: one of the answer's own. */
export function fromAnswer(
  answer: Answer,
  facts: { id: string; model: string; usage: Usage | undefined },
): PivotAnswer {
  const { text, toolCalls, stopReason } = answer;
  return {
    ...facts,
    parts: [
      ...(text === '' ? [] : [{ type: 'text' as const, text }]),
      ...toolCalls.map(({ callId, tool, args }) => ({
        type: 'toolCall' as const,
        id: callId,
        name: tool,
        args: JSON.stringify(args),
      })),
    ],
    stopReason,
  };
}

/** A whole answer as a stream: for a client that asked for one where there is none to read. */
export function* eventsOf({ id, model, parts, usage, stopReason, stopSequence }: PivotAnswer): Generator<PivotEvent> {
  yield { type: 'start', id, model, usage };
  let index = 0;
  for (const part of parts) {
    if (part.type === 'thinking') {
      const { of, text, id, signature, redacted } = part;
      yield { type: 'thinking', of, delta: text, begins: true, id, signature, redacted };
    } else if (part.type !== 'toolCall') yield { type: part.type, delta: part.text };
    else {
      yield { type: 'toolCallStart', index, id: part.id, name: part.name };
      if (part.args !== '') yield { type: 'toolCallArgs', index, delta: part.args };
      index += 1;
    }
  }
  if (usage) yield { type: 'usage', usage };
  yield { type: 'stop', reason: stopReason, stopSequence };
}
