import type { Problem } from '#shared/errors.ts';
import { callsOf, fieldOf, imagesOf, isThoughtBy, textsOf } from '../conversation.ts';
import type { ImagePart, JsonObject, PivotMessage, PivotRequest, TextPart, WriteOptions } from '../pivot.ts';
import { untranslatable, urlOf } from '../read.ts';

const stopsMax = 4;
const nameCharsMax = 64;

/** The request as a body of POST /v1/chat/completions. Throws `invalid` with a problem for each field it cannot carry. */
export function writeRequest(
  request: PivotRequest,
  { model, tokenLimitName = 'max_completion_tokens' }: WriteOptions,
): JsonObject {
  const problems = problemsOf(request);
  if (problems.length > 0) throw untranslatable(problems);
  const { system, messages, stream } = request;
  const head = system.length > 0 ? [{ role: 'system', content: contentOf(system) }] : [];
  return {
    model,
    messages: [...head, ...withPictures(messages, model)],
    ...(request.maxTokens === null ? {} : { [tokenLimitName]: request.maxTokens }),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(request.topP === undefined ? {} : { top_p: request.topP }),
    ...(request.stop.length > 0 ? { stop: request.stop } : {}),
    ...toolFields(request),
    ...formatField(request.responseFormat),
    ...(request.reasoningEffort ? { reasoning_effort: request.reasoningEffort } : {}),
    ...(request.verbosity ? { verbosity: request.verbosity } : {}),
    ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
  };
}

function problemsOf(request: PivotRequest): Problem[] {
  const { stop, topK, tools } = request;
  return [
    ...(stop.length > stopsMax
      ? [{ field: fieldOf(request, 'stop'), message: `has ${stop.length} texts; this model takes ${stopsMax} at most` }]
      : []),
    ...(topK === undefined
      ? []
      : [{ field: fieldOf(request, 'topK'), message: 'has no counterpart for this model; leave it out' }]),
    ...tools.flatMap(({ name }, index) =>
      name.length > nameCharsMax
        ? [
            {
              field: `${fieldOf(request, 'tools')}.${index}.name`,
              message: `is ${name.length} characters long; this model takes ${nameCharsMax} at most`,
            },
          ]
        : [],
    ),
  ];
}

function toolFields({ tools, toolChoice, parallelToolCalls }: PivotRequest): JsonObject {
  if (tools.length === 0) return {};
  const named = typeof toolChoice === 'object';
  return {
    tools: tools.map(({ name, description, schema, strict }) => ({
      type: 'function',
      function: {
        name,
        ...(description === undefined ? {} : { description }),
        parameters: schema,
        ...(strict === undefined ? {} : { strict }),
      },
    })),
    ...(toolChoice === 'auto'
      ? {}
      : { tool_choice: named ? { type: 'function', function: { name: toolChoice.name } } : toolChoice }),
    ...(parallelToolCalls === undefined ? {} : { parallel_tool_calls: parallelToolCalls }),
  };
}

function formatField(format: PivotRequest['responseFormat']): JsonObject {
  if (format === 'text') return {};
  if (format === 'json') return { response_format: { type: 'json_object' } };
  return { response_format: { type: 'json_schema', json_schema: format } };
}

/** On this wire a tool's result is a text: its pictures follow the results of the turn, as a person's would. */
function withPictures(messages: readonly PivotMessage[], model: string): JsonObject[] {
  const written: JsonObject[] = [];
  let pictures: (TextPart | ImagePart)[] = [];
  const isCalling = messages.some(
    ({ role, parts }) => role === 'assistant' && parts.some(({ type }) => type === 'toolCall'),
  );
  const thinkingOf = (parts: AssistantParts) => (isCalling ? thinkingField(parts, model) : {});
  const flush = () => {
    if (pictures.length > 0) written.push({ role: 'user', content: contentOf(pictures) });
    pictures = [];
  };
  for (const message of messages) {
    if (message.role !== 'tool') flush();
    written.push(
      message.role === 'assistant' ? { ...writeMessage(message), ...thinkingOf(message.parts) } : writeMessage(message),
    );
    const images = message.role === 'tool' ? imagesOf(message.parts) : [];
    if (message.role === 'tool' && images.length > 0) {
      pictures.push({ type: 'text', text: `From the result of the tool call ${message.callId}:` }, ...images);
    }
  }
  flush();
  return written;
}

function writeMessage(message: PivotMessage): JsonObject {
  switch (message.role) {
    case 'system':
    case 'user':
      return { role: message.role, content: contentOf(message.parts) };
    case 'tool': {
      // There is no flag for it on this wire.
      const flag: TextPart[] = message.isError ? [{ type: 'text', text: 'Error: ' }] : [];
      const content = contentOf([...flag, ...textsOf(message.parts)].filter(({ text }) => text !== ''));
      return { role: 'tool', tool_call_id: message.callId, content };
    }
    case 'assistant': {
      const calls = callsOf(message.parts).map(({ id, name, args }) => ({
        id,
        type: 'function',
        function: { name, arguments: args },
      }));
      const texts = textsOf(message.parts);
      if (calls.length === 0) return { role: 'assistant', content: contentOf(texts) };
      return { role: 'assistant', content: texts.length > 0 ? contentOf(texts) : null, tool_calls: calls };
    }
  }
}

/**
 * Servers that give their thinking as `reasoning_content` want it back in a conversation with calls, and refuse the next request without
 * it: DeepSeek's "Thinking Mode" and Kimi's guide to its thinking models (2026-11-30). Without any call it is read by nobody, and older
 * models refuse it.
 */
function thinkingField(parts: AssistantParts, model: string): JsonObject {
  const thought = parts
    .filter((part) => part.type === 'thinking')
    .filter((part) => isThoughtBy('openai-chat', model, part));
  return thought.length > 0 ? { reasoning_content: thought.map(({ text }) => text).join('') } : {};
}

type AssistantParts = Extract<PivotMessage, { role: 'assistant' }>['parts'];

/** A single text goes as it is: servers that are not OpenAI's may take no list. */
function contentOf(parts: readonly (TextPart | ImagePart)[]): string | JsonObject[] {
  const [first] = parts;
  if (!first) return '';
  if (parts.length === 1 && first.type === 'text') return first.text;
  return parts.map((part) =>
    part.type === 'text'
      ? { type: 'text', text: part.text }
      : { type: 'image_url', image_url: { url: urlOf(part.source) } },
  );
}
