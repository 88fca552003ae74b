import type OpenAI from 'openai';
import type { Problem } from '#shared/errors.ts';
import { callsOf, fieldOf, isThoughtBy, textsOf } from '../conversation.ts';
import { takenEffort } from '../efforts.ts';
import type {
  FilePart,
  ImagePart,
  JsonObject,
  ModelTraits,
  PivotMessage,
  PivotRequest,
  TextPart,
  WriteOptions,
} from '../pivot.ts';
import { untranslatable, urlOf } from '../read.ts';
import { callIdOf } from './call-id.ts';
import { responsesOnlyProblems } from './responses-only.ts';
import { isStrictSchema } from './strict-schema.ts';

const stopsMax = 4;
const nameCharsMax = 64;
/** What OpenAI takes as a key of its prompt cache, and as an id at all. */
const cacheKeyCharsMax = 64;

/** As OpenAI's own SDK has them. */
type Body = OpenAI.ChatCompletionCreateParams;
type Fields = Partial<Body>;

/** The request as a body of POST /v1/chat/completions. Throws `invalid` with a problem for each field it cannot carry. */
export function writeRequest(
  request: PivotRequest,
  { model, tokenLimitName = 'max_completion_tokens', official, traits }: WriteOptions,
): JsonObject {
  const problems = problemsOf(request, traits);
  if (problems.length > 0) throw untranslatable(problems);
  const { system, messages, stream } = request;
  const head = system.length > 0 ? [{ role: 'system' as const, content: textContentOf(system) }] : [];
  return {
    model,
    messages: [...head, ...withPictures(placeSystem(messages, traits), model, traits)],
    ...(request.maxTokens === null ? {} : { [tokenLimitName]: request.maxTokens }),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(request.topP === undefined ? {} : { top_p: request.topP }),
    ...(request.stop.length > 0 ? { stop: request.stop } : {}),
    ...toolFields(request),
    ...formatField(request.responseFormat),
    ...effortField(request, traits),
    ...(request.verbosity ? { verbosity: request.verbosity } : {}),
    ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    // Other servers may not know the field.
    ...(official && request.promptCacheKey
      ? { prompt_cache_key: request.promptCacheKey.slice(-cacheKeyCharsMax) }
      : {}),
  } satisfies Body;
}

function problemsOf(request: PivotRequest, traits: ModelTraits = {}): Problem[] {
  const { pdf = true } = traits;
  const { stop, topK, tools, messages } = request;
  const hasPdf = messages.some(({ parts }) => parts.some(({ type }) => type === 'file'));
  return [
    ...responsesOnlyProblems(tools, traits),
    ...(stop.length > stopsMax
      ? [{ field: fieldOf(request, 'stop'), message: `has ${stop.length} texts; this model takes ${stopsMax} at most` }]
      : []),
    ...(topK === undefined
      ? []
      : [{ field: fieldOf(request, 'topK'), message: 'has no counterpart for this model; leave it out' }]),
    ...(pdf || !hasPdf
      ? []
      : [
          { field: fieldOf(request, 'messages'), message: 'have a PDF, which this model does not take; give its text' },
        ]),
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

function toolFields({ tools, toolChoice, parallelToolCalls }: PivotRequest): Fields {
  if (tools.length === 0) return {};
  const named = typeof toolChoice === 'object';
  return {
    tools: tools.map(({ name, description, schema, strict }) => ({
      type: 'function' as const,
      function: {
        name,
        ...(description === undefined ? {} : { description }),
        parameters: schema,
        ...(strict === undefined ? {} : { strict: strict && isStrictSchema(schema) }),
      },
    })),
    ...(toolChoice === 'auto'
      ? {}
      : { tool_choice: named ? { type: 'function', function: { name: toolChoice.name } } : toolChoice }),
    ...(parallelToolCalls === undefined ? {} : { parallel_tool_calls: parallelToolCalls }),
  };
}

function formatField(format: PivotRequest['responseFormat']): Fields {
  if (format === 'text') return {};
  if (format === 'json') return { response_format: { type: 'json_object' } };
  const strict = format.strict && isStrictSchema(format.schema);
  return { response_format: { type: 'json_schema', json_schema: { ...format, strict } } };
}

function effortField({ reasoningEffort: asked }: PivotRequest, traits: ModelTraits | undefined): Fields {
  const effort = asked && traits ? takenEffort(asked, traits) : asked;
  return effort ? { reasoning_effort: effort } : {};
}

/** A chat template may know the system at the beginning only, and no two turns of the user's in a row: its later words join the user's. */
function placeSystem(
  messages: readonly PivotMessage[],
  { system_messages = true }: ModelTraits = {},
): readonly PivotMessage[] {
  if (system_messages || messages.every(({ role }) => role !== 'system')) return messages;
  const placed: PivotMessage[] = [];
  for (const message of messages) {
    const last = placed.at(-1);
    if (message.role !== 'system' && message.role !== 'user') placed.push(message);
    else if (last?.role === 'user') last.parts.push(...message.parts);
    else placed.push({ role: 'user', parts: [...message.parts] });
  }
  return placed;
}

/** On this wire a tool's result is a text: its pictures and files follow the results of the turn, as a person's would. */
function withPictures(
  messages: readonly PivotMessage[],
  model: string,
  traits: ModelTraits | undefined,
): OpenAI.ChatCompletionMessageParam[] {
  const written: OpenAI.ChatCompletionMessageParam[] = [];
  let seen: Shown[] = [];
  const thoughts = thoughtsOf(messages, model);
  const flush = () => {
    if (seen.length > 0) written.push({ role: 'user', content: contentOf(seen) });
    seen = [];
  };
  for (const message of messages) {
    if (message.role !== 'tool') flush();
    const thought = thoughts.get(message);
    written.push({
      ...writeMessage(message, traits),
      ...(thought === undefined ? {} : { reasoning_content: thought }),
    });
    const shown = message.role === 'tool' ? message.parts.filter(({ type }) => type !== 'text') : [];
    if (message.role === 'tool' && shown.length > 0) {
      seen.push(
        { type: 'text', text: `From the result of the tool call ${callIdOf(message.callId, traits)}:` },
        ...shown,
      );
    }
  }
  flush();
  return written;
}

function writeMessage(message: PivotMessage, traits: ModelTraits | undefined): OpenAI.ChatCompletionMessageParam {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: textContentOf(message.parts) };
    case 'user':
      return { role: 'user', content: contentOf(message.parts) };
    case 'tool': {
      // There is no flag for it on this wire.
      const [first, ...rest] = textsOf(message.parts).filter(({ text }) => text !== '');
      const text = `${message.isError ? 'Error: ' : ''}${first?.text ?? ''}`;
      return {
        role: 'tool',
        tool_call_id: callIdOf(message.callId, traits),
        content: textContentOf([{ type: 'text', text }, ...rest]),
      };
    }
    case 'assistant': {
      const calls = callsOf(message.parts).map(({ id, name, args }) => ({
        id: callIdOf(id, traits),
        type: 'function' as const,
        function: { name, arguments: args },
      }));
      const texts = textsOf(message.parts);
      if (calls.length === 0) return { role: 'assistant', content: textContentOf(texts) };
      return { role: 'assistant', content: texts.length > 0 ? textContentOf(texts) : null, tool_calls: calls };
    }
  }
}

/**
 * Servers that give their thinking as `reasoning_content` want it back in a conversation with calls, and refuse the next request without
 * it: DeepSeek's "Thinking Mode" and Kimi's guide to its thinking models (2026-11-30). With calls that came without any thought, or from
 * another model, an empty one is what they take. Without any call it is read by nobody, and older models refuse it.
 */
function thoughtsOf(messages: readonly PivotMessage[], model: string): ReadonlyMap<PivotMessage, string> {
  const thoughts = new Map<PivotMessage, string>();
  const calling = new Set<PivotMessage>();
  for (const message of messages) {
    if (message.role !== 'assistant') continue;
    const own = message.parts
      .filter((part) => part.type === 'thinking')
      .filter((part) => isThoughtBy('openai-chat', model, part));
    if (own.length > 0) thoughts.set(message, own.map(({ text }) => text).join(''));
    if (message.parts.some(({ type }) => type === 'toolCall')) calling.add(message);
  }
  if (calling.size === 0 || thoughts.size === 0) return new Map();
  for (const message of calling) if (!thoughts.has(message)) thoughts.set(message, '');
  return thoughts;
}

type Shown = TextPart | ImagePart | FilePart;

/** A single text goes as it is: servers that are not OpenAI's may take no list. */
function contentOf(parts: readonly Shown[]): string | OpenAI.ChatCompletionContentPart[] {
  const [first] = parts;
  if (!first) return '';
  if (parts.length === 1 && first.type === 'text') return first.text;
  return parts.map(writePart);
}

function textContentOf(parts: readonly TextPart[]): string | OpenAI.ChatCompletionContentPartText[] {
  const [first] = parts;
  return parts.length > 1 ? parts.map(writeText) : (first?.text ?? '');
}

const writeText = ({ text }: TextPart): OpenAI.ChatCompletionContentPartText => ({ type: 'text', text });

function writePart(part: Shown): OpenAI.ChatCompletionContentPart {
  switch (part.type) {
    case 'text':
      return writeText(part);
    case 'image':
      return { type: 'image_url', image_url: { url: urlOf(part.source) } };
    case 'file': {
      const file_data = `data:${part.mediaType};base64,${part.data}`;
      return { type: 'file', file: { filename: part.name ?? 'document.pdf', file_data } };
    }
  }
}
