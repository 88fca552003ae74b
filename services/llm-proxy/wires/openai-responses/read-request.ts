import { z } from 'zod';
import { checked, joinAssistant, splitSystem } from '../conversation.ts';
import type { ImagePart, JsonObject, PivotMessage, PivotRequest, TextPart } from '../pivot.ts';
import { efforts } from '../pivot.ts';
import { ArgsText, ImageUrl, inner, maybe, ObjectSchema, partsOf, readBody } from '../read.ts';

const wire = 'openai-responses';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

const Text = object({ type: z.enum(['input_text', 'output_text', 'text']), text: z.string() }).transform(
  ({ text }): TextPart => ({ type: 'text', text }),
);
const Refusal = object({ type: z.literal('refusal'), refusal: z.string() }).transform(
  ({ refusal }): TextPart => ({ type: 'text', text: refusal }),
);
const Picture = object({ type: z.literal('input_image'), image_url: ImageUrl, file_id: z.null().optional() }).transform(
  ({ image_url }): ImagePart => ({ type: 'image', source: image_url }),
);
const type = z.literal('message');
const Message = z.discriminatedUnion('role', [
  object({ type, role: z.enum(['system', 'developer']), content: partsOf(Text) }).transform(
    ({ content }): PivotMessage => ({ role: 'system', parts: content }),
  ),
  object({ type, role: z.literal('user'), content: partsOf(z.discriminatedUnion('type', [Text, Picture])) }).transform(
    ({ content }): PivotMessage => ({ role: 'user', parts: content }),
  ),
  object({
    type,
    role: z.literal('assistant'),
    content: partsOf(z.discriminatedUnion('type', [Text, Refusal])),
  }).transform(({ content }): PivotMessage => ({ role: 'assistant', parts: content })),
]);

const Item = z.preprocess(
  (value) => (typeof value === 'object' && value && !('type' in value) ? { type: 'message', ...value } : value),
  z.discriminatedUnion('type', [
    Message,
    object({
      type: z.literal('function_call'),
      call_id: z.string().min(1),
      name: z.string().min(1),
      arguments: ArgsText,
      caller: object({ type: z.literal('direct') }).nullish(),
    }).transform(
      (call): PivotMessage => ({
        role: 'assistant',
        parts: [{ type: 'toolCall', id: call.call_id, name: call.name, args: call.arguments }],
      }),
    ),
    object({
      type: z.literal('function_call_output'),
      call_id: z.string().min(1),
      output: partsOf(z.discriminatedUnion('type', [Text, Picture])),
      name: z.string().nullish(),
      caller: object({ type: z.literal('direct') }).nullish(),
    }).transform(
      ({ call_id, output }): PivotMessage => ({ role: 'tool', callId: call_id, parts: output, isError: false }),
    ),
    // Encrypted, and of use to the model that thought it only.
    z.looseObject({ type: z.literal('reasoning') }).transform(() => undefined),
  ]),
);

const Tool = z.discriminatedUnion('type', [
  object({
    type: z.literal('function'),
    name: z.string().min(1),
    description: z.string().nullish(),
    parameters: maybe(ObjectSchema),
    strict: z.boolean().nullish(),
    defer_loading: z.literal(false).optional(),
  }).transform(({ name, description, parameters, strict }) => ({
    name,
    description: description ?? undefined,
    schema: parameters ?? { type: 'object', properties: {} },
    strict: strict ?? undefined,
  })),
]);

const ToolChoice = z.preprocess(
  (value) => (typeof value === 'string' ? { type: value } : value),
  z.discriminatedUnion('type', [
    object({ type: z.enum(['auto', 'none', 'required']) }),
    object({ type: z.literal('function'), name: z.string() }),
  ]),
);

const Format = z.discriminatedUnion('type', [
  object({ type: z.literal('text') }),
  object({ type: z.literal('json_object') }),
  object({
    type: z.literal('json_schema'),
    name: z.string(),
    description: z.string().nullish(),
    schema: ObjectSchema,
    strict: z.boolean().nullish(),
  }),
]);

const Body = object({
  model: z.string().min(1),
  input: z.preprocess(
    (value) => (typeof value === 'string' ? [{ role: 'user', content: value }] : value),
    z.array(Item).default([]),
  ),
  instructions: z.string().optional(),
  max_output_tokens: z.int().positive().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  tools: z.array(Tool).default([]),
  tool_choice: ToolChoice.optional(),
  parallel_tool_calls: z.boolean().optional(),
  text: object({ format: maybe(Format), verbosity: z.enum(['low', 'medium', 'high']).nullish() }).optional(),
  reasoning: object({ effort: z.enum(efforts).nullish() }).optional(),
  stream: z.boolean().default(false),
  stream_options: object({}).optional(),
});

/** A body of POST /v1/responses that needs nothing stored. Throws `invalid` with a problem for each field that no other wire can carry. */
export function readRequest(body: JsonObject): PivotRequest {
  const said = readBody(wire, Body, body);
  const { tool_choice: choice, instructions } = said;
  const { system, messages } = splitSystem(joinAssistant(said.input.filter((item) => item !== undefined)));
  return checked({
    wire,
    model: said.model,
    system: [...(instructions ? [{ type: 'text' as const, text: instructions }] : []), ...system],
    messages,
    tools: said.tools,
    toolChoice: !choice ? 'auto' : choice.type === 'function' ? { name: choice.name } : choice.type,
    parallelToolCalls: said.parallel_tool_calls,
    maxTokens: said.max_output_tokens ?? null,
    temperature: said.temperature,
    topP: said.top_p,
    topK: undefined,
    stop: [],
    responseFormat: toFormat(said.text?.format),
    reasoningEffort: said.reasoning?.effort ?? undefined,
    verbosity: said.text?.verbosity ?? undefined,
    stream: said.stream,
    includeUsage: true,
  });
}

function toFormat(format: z.infer<typeof Format> | undefined): PivotRequest['responseFormat'] {
  if (!format || format.type === 'text') return 'text';
  if (format.type === 'json_object') return 'json';
  return { name: format.name, schema: format.schema, strict: format.strict ?? false };
}
