import type OpenAI from 'openai';
import type { Problem } from '#shared/errors.ts';
import { fieldOf, isThoughtBy } from '../conversation.ts';
import { takenEffort } from '../efforts.ts';
import { callIdOf } from '../openai-chat/call-id.ts';
import { isStrictSchema } from '../openai-chat/strict-schema.ts';
import type {
  FilePart,
  ImagePart,
  JsonObject,
  ModelTraits,
  PivotMessage,
  PivotRequest,
  TextPart,
  ThinkingPart,
  WriteOptions,
} from '../pivot.ts';
import { untranslatable, urlOf } from '../read.ts';

/** What OpenAI takes as a key of its prompt cache, and as an id at all. */
const cacheKeyCharsMax = 64;
/** The least that OpenAI takes as `max_output_tokens`: "Expected a value >= 16" (its own 400, 2026-11-30). */
const outputTokensMin = 16;

/** As OpenAI's own SDK has them. */
type Body = OpenAI.Responses.ResponseCreateParams;
type Fields = Partial<Body>;
type Item = OpenAI.Responses.ResponseInputItem;
type Content = OpenAI.Responses.ResponseInputContent;

/**
 * The request as a body of POST /v1/responses. Nothing is stored there, so all of the conversation goes along, and what a model thought comes
 * back encrypted and goes along, too ("Reasoning models" of OpenAI's guides, 2026-11-30). Throws `invalid` with a problem for each field it
 * cannot carry.
 */
export function writeRequest(request: PivotRequest, { model, traits }: WriteOptions): JsonObject {
  const problems = problemsOf(request, traits);
  if (problems.length > 0) throw untranslatable(problems);
  const { system, messages, maxTokens, temperature, topP, stream, promptCacheKey } = request;
  const instructions = system.map(({ text }) => text).join('\n\n');
  return {
    model,
    store: false,
    // A model that does not think refuses it.
    ...(traits?.efforts?.length === 0 ? {} : { include: ['reasoning.encrypted_content'] }),
    ...(instructions === '' ? {} : { instructions }),
    input: messages.flatMap((message) => writeMessage(message, model)),
    ...(maxTokens === null ? {} : { max_output_tokens: Math.max(maxTokens, outputTokensMin) }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { top_p: topP }),
    ...toolFields(request),
    ...textField(request),
    ...effortField(request, traits),
    ...(stream ? { stream } : {}),
    ...(promptCacheKey ? { prompt_cache_key: promptCacheKey.slice(-cacheKeyCharsMax) } : {}),
  } satisfies Body;
}

function problemsOf(request: PivotRequest, { pdf = true }: ModelTraits = {}): Problem[] {
  const { stop, topK, messages } = request;
  const hasPdf = messages.some(({ parts }) => parts.some(({ type }) => type === 'file'));
  const none = 'has no counterpart for this model; leave it out';
  return [
    ...(stop.length > 0 ? [{ field: fieldOf(request, 'stop'), message: none }] : []),
    ...(topK === undefined ? [] : [{ field: fieldOf(request, 'topK'), message: none }]),
    ...(pdf || !hasPdf
      ? []
      : [
          { field: fieldOf(request, 'messages'), message: 'have a PDF, which this model does not take; give its text' },
        ]),
  ];
}

function toolFields({ tools, toolChoice, parallelToolCalls }: PivotRequest): Fields {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(({ name, description, schema, strict = false }) => ({
      type: 'function' as const,
      name,
      ...(description === undefined ? {} : { description }),
      parameters: schema,
      // What is not said is strict here, unlike on chat completions ("Function calling" of OpenAI's guides, 2026-11-30).
      strict: strict && isStrictSchema(schema),
    })),
    ...(toolChoice === 'auto'
      ? {}
      : { tool_choice: typeof toolChoice === 'object' ? { type: 'function', name: toolChoice.name } : toolChoice }),
    ...(parallelToolCalls === undefined ? {} : { parallel_tool_calls: parallelToolCalls }),
  };
}

function textField({ responseFormat: format, verbosity }: PivotRequest): Fields {
  if (format === 'text') return verbosity ? { text: { verbosity } } : {};
  const asked =
    format === 'json'
      ? { type: 'json_object' as const }
      : { type: 'json_schema' as const, ...format, strict: format.strict && isStrictSchema(format.schema) };
  return { text: { format: asked, ...(verbosity ? { verbosity } : {}) } };
}

function effortField({ reasoningEffort: asked }: PivotRequest, traits: ModelTraits | undefined): Fields {
  const effort = asked && traits ? takenEffort(asked, traits) : asked;
  return effort ? { reasoning: { effort } } : {};
}

function writeMessage(message: PivotMessage, model: string): Item[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'developer', content: contentOf(message.parts) }];
    case 'user':
      return [{ role: 'user', content: contentOf(message.parts) }];
    case 'tool':
      return [{ type: 'function_call_output', call_id: callIdOf(message.callId), output: resultOf(message) }];
    case 'assistant':
      return writeAssistant(message, model);
  }
}

/** There is no mark that a result is an error. */
function resultOf({ parts, isError }: Extract<PivotMessage, { role: 'tool' }>): string | Content[] {
  const shown = parts.filter((part) => part.type !== 'text' || part.text !== '');
  const [first, ...rest] = shown;
  if (first && first.type !== 'text') return contentOf(isError ? [{ type: 'text', text: 'Error:' }, ...shown] : shown);
  return contentOf([{ type: 'text', text: `${isError ? 'Error: ' : ''}${first?.text ?? ''}` }, ...rest]);
}

/** What was said and done, in its order. Thinking that nothing follows is refused ("without its required following item", OpenAI's own 400, 2026-11-30). */
function writeAssistant({ parts }: Extract<PivotMessage, { role: 'assistant' }>, model: string): Item[] {
  const last = parts.findLastIndex((part) => part.type === 'toolCall' || (part.type === 'text' && part.text !== ''));
  return parts.slice(0, last + 1).flatMap((part): Item[] => {
    if (part.type === 'thinking') return isThoughtBy('openai-responses', model, part) ? writeThinking(part) : [];
    if (part.type === 'text') return part.text === '' ? [] : [{ role: 'assistant', content: part.text }];
    const { id, name, args } = part;
    return [{ type: 'function_call', call_id: callIdOf(id), name, arguments: args }];
  });
}

/** Without its encrypted content it would be looked for among what is stored. */
function writeThinking({ id, text, signature }: ThinkingPart): Item[] {
  if (id === undefined || signature === undefined) return [];
  const summary = text === '' ? [] : [{ type: 'summary_text' as const, text }];
  return [{ type: 'reasoning', id, summary, encrypted_content: signature }];
}

type Shown = TextPart | ImagePart | FilePart;

function contentOf(parts: readonly Shown[]): string | Content[] {
  const [first] = parts;
  return parts.length === 1 && first?.type === 'text' ? first.text : parts.map(writePart);
}

function writePart(part: Shown): Content & { type: 'input_text' | 'input_image' | 'input_file' } {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: part.text };
    case 'image':
      return { type: 'input_image', image_url: urlOf(part.source), detail: 'auto' };
    case 'file': {
      const file_data = `data:${part.mediaType};base64,${part.data}`;
      return { type: 'input_file', filename: part.name ?? 'document.pdf', file_data };
    }
  }
}
