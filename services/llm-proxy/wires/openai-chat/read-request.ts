import { z } from 'zod';
import { checked, splitSystem } from '../conversation.ts';
import type { CallPart, JsonObject, PivotMessage, PivotRequest, TextPart } from '../pivot.ts';
import { efforts } from '../pivot.ts';
import { ArgsText, ImageUrl, inner, maybe, ObjectSchema, partsOf, readBody } from '../read.ts';

const wire = 'openai-chat';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

const Text = object({ type: z.literal('text'), text: z.string() });
const Texts = partsOf(Text);
const Picture = object({ type: z.literal('image_url'), image_url: object({ url: ImageUrl }) });
const Refusal = object({ type: z.literal('refusal'), refusal: z.string() });

const Call = z.discriminatedUnion('type', [
  object({
    id: z.string().min(1),
    type: z.literal('function'),
    function: object({ name: z.string().min(1), arguments: ArgsText }),
  }),
]);

// Each message becomes as many of the pivot's parts as it has; what the client calls nothing, it may also leave out.
const nothing = z.null().optional();
const name = z.string().nullish();
const Message = z.discriminatedUnion('role', [
  object({ role: z.enum(['system', 'developer']), content: Texts, name }).transform(
    ({ content }): PivotMessage => ({ role: 'system', parts: content.map(textPart) }),
  ),
  object({
    role: z.literal('user'),
    content: partsOf(z.discriminatedUnion('type', [Text, Picture])),
    name: nothing,
  }).transform(
    ({ content }): PivotMessage => ({
      role: 'user',
      parts: content.map((part) =>
        part.type === 'text' ? textPart(part) : { type: 'image', source: part.image_url.url },
      ),
    }),
  ),
  object({
    role: z.literal('assistant'),
    content: maybe(partsOf(z.discriminatedUnion('type', [Text, Refusal]))),
    refusal: z.string().nullish(),
    tool_calls: maybe(z.array(Call)),
    audio: nothing,
    function_call: nothing,
    name,
  }).transform(({ content = [], refusal, tool_calls = [] }): PivotMessage => {
    const said = content.map(
      (part): TextPart => ({ type: 'text', text: part.type === 'text' ? part.text : part.refusal }),
    );
    const refused: TextPart[] = refusal ? [{ type: 'text', text: refusal }] : [];
    const calls = tool_calls.map(
      (call): CallPart => ({ type: 'toolCall', id: call.id, name: call.function.name, args: call.function.arguments }),
    );
    return { role: 'assistant', parts: [...said, ...refused, ...calls] };
  }),
  object({ role: z.literal('tool'), tool_call_id: z.string().min(1), content: Texts, name }).transform(
    ({ tool_call_id, content }): PivotMessage => ({
      role: 'tool',
      callId: tool_call_id,
      parts: content.map(textPart),
      isError: false,
    }),
  ),
]);

function textPart({ text }: { text: string }): TextPart {
  return { type: 'text', text };
}

const Tool = z.discriminatedUnion('type', [
  object({
    type: z.literal('function'),
    function: object({
      name: z.string().min(1),
      description: z.string().nullish(),
      parameters: maybe(ObjectSchema),
      strict: z.boolean().nullish(),
    }),
  }),
]);

const ToolChoice = z.preprocess(
  (value) => (typeof value === 'string' ? { type: value } : value),
  z.discriminatedUnion('type', [
    object({ type: z.enum(['auto', 'none', 'required']) }),
    object({ type: z.literal('function'), function: object({ name: z.string() }) }),
  ]),
);

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
    tools: said.tools.map(({ function: { name, description, parameters, strict } }) => ({
      name,
      description: description ?? undefined,
      schema: parameters ?? { type: 'object', properties: {} },
      strict: strict ?? undefined,
    })),
    toolChoice: !choice ? 'auto' : choice.type === 'function' ? { name: choice.function.name } : choice.type,
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
    includeUsage: said.stream_options?.include_usage ?? false,
  });
}

const toFormat = ({ name, schema, strict }: { name: string; schema: JsonObject; strict?: boolean | null }) => ({
  name,
  schema,
  strict: strict ?? false,
});
