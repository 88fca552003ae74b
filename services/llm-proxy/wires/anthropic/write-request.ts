import type { Problem } from '#shared/errors.ts';
import { fieldOf, isThoughtBy } from '../conversation.ts';
import type {
  CallPart,
  ImagePart,
  JsonObject,
  PivotMessage,
  PivotRequest,
  PivotTool,
  TextPart,
  ThinkingPart,
  WriteOptions,
} from '../pivot.ts';
import { parseArgs, untranslatable } from '../read.ts';

type Turn = { role: 'user' | 'assistant' | 'system'; content: JsonObject[] };

/** The request as a body of POST /v1/messages. Throws `invalid` with a problem for each field it cannot carry. */
export function writeRequest(request: PivotRequest, { model, maxTokensDefault }: WriteOptions): JsonObject {
  const messages = turnsOf(request.messages, model);
  const problems = [...problemsOf(request), ...turnProblems(request, messages)];
  if (problems.length > 0) throw untranslatable(problems);
  const system = request.system.flatMap(writeText);
  return {
    model,
    max_tokens: request.maxTokens ?? maxTokensDefault,
    ...(system.length > 0 ? { system: plain(system) } : {}),
    messages,
    ...(request.tools.length > 0 ? { tools: request.tools.map(writeTool), ...choiceField(request) } : {}),
    ...(request.stop.length > 0 ? { stop_sequences: request.stop } : {}),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(request.topP === undefined ? {} : { top_p: request.topP }),
    ...(request.topK === undefined ? {} : { top_k: request.topK }),
    ...outputFields(request),
    ...(request.stream ? { stream: true } : {}),
  };
}

function problemsOf(request: PivotRequest): Problem[] {
  const problems: Problem[] = [];
  const add = (field: Parameters<typeof fieldOf>[1], message: string) =>
    problems.push({ field: fieldOf(request, field), message });
  if (request.responseFormat === 'json') {
    add('responseFormat', 'JSON without a schema has no counterpart for this model; give a json_schema');
  }
  if (request.verbosity !== undefined && request.verbosity !== 'medium') {
    add('verbosity', 'has no counterpart for this model; leave it out');
  }
  if ((request.temperature ?? 0) > 1) add('temperature', 'is above 1, the most that this model takes');
  if (request.stop.some((text) => text.trim() === '')) {
    add('stop', 'has a text of white space only, at which this model cannot stop');
  }
  return problems;
}

/** A conversation begins and ends with what was said to the model. */
function turnProblems(request: PivotRequest, turns: readonly Turn[]): Problem[] {
  const said = turns.filter(({ role }) => role !== 'system');
  const field = fieldOf(request, 'messages');
  if (said.length === 0) return [{ field, message: 'has nothing for the model to answer: all texts are empty' }];
  if (said[0]?.role === 'assistant') {
    return [{ field: `${field}.0`, message: "is the assistant's; for this model the user speaks first" }];
  }
  if (said.at(-1)?.role === 'assistant') {
    return [{ field, message: 'end with the assistant; for this model the user speaks last' }];
  }
  return [];
}

/** Messages of one role are one turn; in it the results of tools come first, and whatever else was said follows. */
function turnsOf(messages: readonly PivotMessage[], model: string): Turn[] {
  const turns: Turn[] = [];
  const add = (role: Turn['role'], content: JsonObject[]) => {
    if (content.length === 0) return;
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else turns.push({ role, content });
  };
  for (const message of messages) {
    if (message.role === 'tool') add('user', [writeResult(message)]);
    else if (message.role === 'assistant')
      add(
        'assistant',
        message.parts.flatMap((part) => writeSaid(part, model)),
      );
    else add(message.role, message.parts.flatMap(writePart));
  }
  return turns.map(resultsFirst);
}

function resultsFirst({ role, content }: Turn): Turn {
  const isResult = ({ type }: JsonObject) => type === 'tool_result';
  return { role, content: [...content.filter(isResult), ...content.filter((block) => !isResult(block))] };
}

function writeResult({ callId, parts, isError }: Extract<PivotMessage, { role: 'tool' }>): JsonObject {
  const content = parts.flatMap(writePart);
  return {
    type: 'tool_result',
    tool_use_id: idOf(callId),
    ...(content.length > 0 ? { content: plain(content) } : {}),
    ...(isError ? { is_error: true } : {}),
  };
}

/** The API wants the thinking of its model back as it was and where it was. */
function writeSaid(part: TextPart | CallPart | ThinkingPart, model: string): JsonObject[] {
  if (part.type !== 'thinking') return writePart(part);
  if (!isThoughtBy('anthropic', model, part)) return [];
  if (part.redacted !== undefined) return [{ type: 'redacted_thinking', data: part.redacted }];
  // What nobody has signed is refused.
  return part.signature === undefined ? [] : [{ type: 'thinking', thinking: part.text, signature: part.signature }];
}

function writePart(part: TextPart | ImagePart | CallPart): JsonObject[] {
  switch (part.type) {
    case 'text':
      return writeText(part);
    case 'toolCall':
      return [{ type: 'tool_use', id: idOf(part.id), name: part.name, input: parseArgs(part.args) ?? {} }];
    case 'image':
      return [
        {
          type: 'image',
          source:
            part.source.kind === 'url'
              ? { type: 'url', url: part.source.url }
              : { type: 'base64', media_type: part.source.mediaType, data: part.source.data },
        },
      ];
  }
}

/** The API refuses a text of nothing but white space. */
const writeText = ({ text }: TextPart): JsonObject[] => (text.trim() === '' ? [] : [{ type: 'text', text }]);

/** A single text goes as it is. */
const plain = (blocks: JsonObject[]) => (blocks.length === 1 && blocks[0]?.type === 'text' ? blocks[0].text : blocks);

/** Other servers' ids may have characters that this one's may not: each becomes its code, the same way every time. */
const idOf = (id: string) => id.replace(/[^a-zA-Z0-9_-]/gu, (char) => `_${char.codePointAt(0)?.toString(16)}_`);

const writeTool = ({ name, description, schema, strict }: PivotTool): JsonObject => ({
  name,
  ...(description === undefined ? {} : { description }),
  input_schema: { type: 'object', ...schema },
  ...(strict === undefined ? {} : { strict }),
});

function choiceField({ toolChoice, parallelToolCalls }: PivotRequest): JsonObject {
  const alone = parallelToolCalls === undefined ? {} : { disable_parallel_tool_use: !parallelToolCalls };
  if (typeof toolChoice === 'object') return { tool_choice: { type: 'tool', name: toolChoice.name, ...alone } };
  if (toolChoice === 'none') return { tool_choice: { type: 'none' } };
  if (toolChoice === 'required') return { tool_choice: { type: 'any', ...alone } };
  return parallelToolCalls === undefined ? {} : { tool_choice: { type: 'auto', ...alone } };
}

function outputFields({ reasoningEffort: effort, responseFormat }: PivotRequest): JsonObject {
  const schema = typeof responseFormat === 'object' ? responseFormat.schema : undefined;
  const format = schema ? { format: { type: 'json_schema', schema } } : {};
  // The least effort of this wire is the nearest to OpenAI's least but one.
  const level = effort === 'minimal' ? 'low' : effort;
  return {
    ...(level === 'none' ? { thinking: { type: 'disabled' } } : {}),
    ...(schema || (level && level !== 'none')
      ? { output_config: { ...(level && level !== 'none' ? { effort: level } : {}), ...format } }
      : {}),
  };
}
