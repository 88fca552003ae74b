import { z } from 'zod';
import { checked, joinAssistant, splitSystem } from '../conversation.ts';
import { argsOfInput } from '../custom-tools.ts';
import { leftOutItems } from '../left-out.ts';
import type { ImagePart, JsonObject, PivotMessage, PivotRequest, PivotTool, TextPart } from '../pivot.ts';
import { efforts } from '../pivot.ts';
import { ArgsText, ImageUrl, inner, maybe, ObjectSchema, partsOf, readBody } from '../read.ts';
import { flatName, Tools } from './tools.ts';

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

const called = {
  call_id: z.string().min(1),
  name: z.string().min(1),
  namespace: maybe(z.string().min(1)),
  caller: object({ type: z.literal('direct') }).nullish(),
};
const answered = {
  call_id: z.string().min(1),
  output: partsOf(z.discriminatedUnion('type', [Text, Picture])),
  name: z.string().nullish(),
  caller: object({ type: z.literal('direct') }).nullish(),
};
const toCall = (
  call: { call_id: string; name: string; namespace?: string | undefined },
  args: string,
): PivotMessage => ({
  role: 'assistant',
  parts: [{ type: 'toolCall', id: call.call_id, name: flatName(call), args }],
});
const toResult = ({ call_id, output }: { call_id: string; output: (TextPart | ImagePart)[] }): PivotMessage => ({
  role: 'tool',
  callId: call_id,
  parts: output,
  isError: false,
});
/** Tools may be declared where they come up in the conversation. */
type Declared = { role: 'tools'; tools: PivotTool[] };

const Item = z.preprocess(
  (value) => (typeof value === 'object' && value && !('type' in value) ? { type: 'message', ...value } : value),
  z.discriminatedUnion('type', [
    Message,
    object({ type: z.literal('function_call'), arguments: ArgsText, ...called }).transform((call) =>
      toCall(call, call.arguments),
    ),
    object({ type: z.literal('custom_tool_call'), input: z.string(), ...called }).transform((call) =>
      toCall(call, argsOfInput(call.input)),
    ),
    object({ type: z.enum(['function_call_output', 'custom_tool_call_output']), ...answered }).transform(toResult),
    object({ type: z.literal('additional_tools'), role: z.string().nullish(), tools: Tools }).transform(
      ({ tools }): Declared => ({ role: 'tools', tools }),
    ),
    // Encrypted, and of use to the model that thought it only; or what a search did, of which the answer's text tells.
    z.looseObject({ type: z.enum(leftOutItems) }).transform(() => undefined),
  ]),
);

const ToolChoice = z.preprocess(
  (value) => (typeof value === 'string' ? { type: value } : value),
  z.discriminatedUnion('type', [
    object({ type: z.enum(['auto', 'none', 'required']) }),
    object({ type: z.enum(['function', 'custom']), name: z.string() }),
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
  tools: Tools.default([]),
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
  const items = said.input.filter((item) => item !== undefined);
  const declared = items.flatMap((item) => (item.role === 'tools' ? item.tools : []));
  const { system, messages } = splitSystem(joinAssistant(items.filter((item) => item.role !== 'tools')));
  // What is declared again is meant as it was said last.
  const tools = [...new Map([...said.tools, ...declared].map((tool) => [tool.name, tool])).values()];
  return checked({
    wire,
    model: said.model,
    system: [...(instructions ? [{ type: 'text' as const, text: instructions }] : []), ...system],
    messages,
    tools,
    toolChoice: !choice ? 'auto' : 'name' in choice ? { name: nameOf(tools, choice.name) } : choice.type,
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

const nameOf = (tools: readonly PivotTool[], name: string): string =>
  tools.find(({ origin }) => origin?.name === name)?.name ?? name;

function toFormat(format: z.infer<typeof Format> | undefined): PivotRequest['responseFormat'] {
  if (!format || format.type === 'text') return 'text';
  if (format.type === 'json_object') return 'json';
  return { name: format.name, schema: format.schema, strict: format.strict ?? false };
}
