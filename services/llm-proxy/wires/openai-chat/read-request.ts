import { z } from 'zod';
import { checked, splitSystem } from '../conversation.ts';
import { argsOfInput } from '../custom-tools.ts';
import type { CacheMark, CallPart, ImagePart, JsonObject, PivotMessage, PivotRequest, TextPart } from '../pivot.ts';
import { efforts } from '../pivot.ts';
import { ArgsText, CacheControl, ImageUrl, inner, maybe, ObjectSchema, partsOf, readBody } from '../read.ts';
import { cache_control, cacheOf, Tool, ToolChoice, toChoice, toTool } from './tools.ts';

const wire = 'openai-chat';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

const Text = object({ type: z.literal('text'), text: z.string(), cache_control });
const Texts = partsOf(Text);
const Picture = object({ type: z.literal('image_url'), image_url: object({ url: ImageUrl }), cache_control });
const Refusal = object({ type: z.literal('refusal'), refusal: z.string() });
// Some libraries repeat fields of the message in the parts that it was given as.
const repeated = { role: z.unknown().optional(), refusal: z.unknown().optional(), tool_calls: z.unknown().optional() };
const SaidText = object({ type: z.literal('text'), text: z.string(), cache_control, ...repeated });

const Call = z.discriminatedUnion('type', [
  object({
    id: z.string().min(1),
    type: z.literal('function'),
    function: object({ name: z.string().min(1), arguments: ArgsText }),
  }),
  object({
    id: z.string().min(1),
    type: z.literal('custom'),
    custom: object({ name: z.string().min(1), input: z.string() }),
  }),
]);

// Each message becomes as many of the pivot's parts as it has; what the client calls nothing, it may also leave out.
const nothing = z.null().optional();
/** Whoever of several speaks: other wires have no place for it. */
const name = z.string().nullish();
const Message = z.discriminatedUnion('role', [
  object({ role: z.enum(['system', 'developer']), content: Texts, name, cache_control }).transform(
    ({ content, cache_control: cache }): PivotMessage => ({
      role: 'system',
      parts: markLast(content.map(textPart), cache),
    }),
  ),
  object({
    role: z.literal('user'),
    content: partsOf(z.discriminatedUnion('type', [Text, Picture])),
    name,
    cache_control,
  }).transform(
    ({ content, cache_control: cache }): PivotMessage => ({
      role: 'user',
      parts: markLast(
        content.map((part): TextPart | ImagePart =>
          part.type === 'text'
            ? textPart(part)
            : { type: 'image', source: part.image_url.url, ...cacheOf(part.cache_control) },
        ),
        cache,
      ),
    }),
  ),
  object({
    role: z.literal('assistant'),
    content: maybe(partsOf(z.discriminatedUnion('type', [SaidText, Refusal]))),
    refusal: z.string().nullish(),
    tool_calls: maybe(z.array(Call)),
    audio: nothing,
    function_call: nothing,
    name,
    cache_control,
  }).transform(({ content = [], refusal, tool_calls = [], cache_control: cache }): PivotMessage => {
    const said = content.map(
      (part): TextPart => (part.type === 'text' ? textPart(part) : { type: 'text', text: part.refusal }),
    );
    const refused: TextPart[] = refusal ? [{ type: 'text', text: refusal }] : [];
    const calls = tool_calls.map(toCall);
    return { role: 'assistant', parts: markLast([...said, ...refused, ...calls], cache) };
  }),
  object({ role: z.literal('tool'), tool_call_id: z.string().min(1), content: Texts, name, cache_control }).transform(
    ({ tool_call_id, content, cache_control: cache }): PivotMessage => ({
      role: 'tool',
      callId: tool_call_id,
      parts: content.map(({ text }) => ({ type: 'text', text })),
      isError: false,
      ...cacheOf(cache ?? content.findLast((part) => part.cache_control)?.cache_control),
    }),
  ),
]);

function toCall(call: z.infer<typeof Call>): CallPart {
  const [name, args] =
    call.type === 'custom'
      ? [call.custom.name, argsOfInput(call.custom.input)]
      : [call.function.name, call.function.arguments];
  return { type: 'toolCall', id: call.id, name, args };
}

function textPart({ text, cache_control }: { text: string; cache_control?: CacheMark | undefined }): TextPart {
  return { type: 'text', text, ...cacheOf(cache_control) };
}

/** What is marked as a whole is kept up to its last part. */
function markLast<T extends { cache?: CacheMark | undefined }>(parts: T[], cache: CacheMark | undefined): T[] {
  return cache ? parts.map((part, at) => (at === parts.length - 1 ? { ...part, cache } : part)) : parts;
}

const Format = z.discriminatedUnion('type', [
  object({ type: z.literal('text') }),
  object({ type: z.literal('json_object') }),
  object({
    type: z.literal('json_schema'),
    json_schema: object({
      name: z.string(),
      description: z.string().nullish(),
      schema: ObjectSchema,
      strict: z.boolean().nullish(),
    }),
  }),
]);

const Body = object({
  model: z.string().min(1),
  messages: z.array(Message),
  max_tokens: z.int().positive().optional(),
  max_completion_tokens: z.int().positive().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  stop: z.preprocess((value) => (typeof value === 'string' ? [value] : value), z.array(z.string()).default([])),
  tools: z.array(Tool).default([]),
  tool_choice: ToolChoice.optional(),
  parallel_tool_calls: z.boolean().optional(),
  response_format: Format.default({ type: 'text' }),
  reasoning_effort: z.enum(efforts).optional(),
  verbosity: z.enum(['low', 'medium', 'high']).optional(),
  cache_control: CacheControl.optional(),
  stream: z.boolean().default(false),
  stream_options: object({
    include_usage: z.boolean().nullish(),
    include_obfuscation: z.unknown().optional(),
  }).optional(),
});

/** A body of POST /v1/chat/completions. Throws `invalid` with a problem for each field that no other wire can carry. */
export function readRequest(body: JsonObject): PivotRequest {
  const said = readBody(wire, Body, body);
  const { response_format: format, tool_choice: choice } = said;
  return checked({
    wire,
    model: said.model,
    ...splitSystem(said.messages),
    tools: said.tools.map(toTool),
    toolChoice: toChoice(choice),
    parallelToolCalls: said.parallel_tool_calls,
    maxTokens: said.max_completion_tokens ?? said.max_tokens ?? null,
    temperature: said.temperature,
    topP: said.top_p,
    topK: undefined,
    stop: said.stop,
    responseFormat:
      format.type === 'text' ? 'text' : format.type === 'json_object' ? 'json' : toFormat(format.json_schema),
    reasoningEffort: said.reasoning_effort,
    verbosity: said.verbosity,
    stream: said.stream,
    ...cacheOf(said.cache_control),
    includeUsage: said.stream_options?.include_usage ?? false,
  });
}

const toFormat = ({ name, schema, strict }: { name: string; schema: JsonObject; strict?: boolean | null }) => ({
  name,
  schema,
  strict: strict ?? false,
});
