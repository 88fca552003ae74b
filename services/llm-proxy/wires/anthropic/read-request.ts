import { z } from 'zod';
import { checked } from '../conversation.ts';
import type { CallPart, ImagePart, JsonObject, PivotMessage, PivotRequest, TextPart } from '../pivot.ts';
import {
  ArgsObject,
  HttpUrl,
  inner,
  MediaType,
  maybe,
  ObjectSchema,
  partsOf,
  readBody,
  untranslatable,
} from '../read.ts';

const wire = 'anthropic';
const object = <S extends z.ZodRawShape>(shape: S) => inner(wire, shape);

const Text = object({
  type: z.literal('text'),
  text: z.string(),
  citations: z.union([z.null(), z.tuple([])], 'have no counterpart for this model').optional(),
}).transform(({ text }): TextPart => ({ type: 'text', text }));

const Picture = object({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [
    object({ type: z.literal('base64'), media_type: MediaType, data: z.string().min(1) }),
    object({ type: z.literal('url'), url: HttpUrl }),
  ]),
  transformations: z.null().optional(),
}).transform(
  ({ source }): ImagePart => ({
    type: 'image',
    source:
      source.type === 'url'
        ? { kind: 'url', url: source.url }
        : { kind: 'base64', mediaType: source.media_type, data: source.data },
  }),
);

const Call = object({
  type: z.literal('tool_use'),
  id: z.string().min(1),
  name: z.string().min(1),
  input: ArgsObject,
  toolset_name: z.null().optional(),
}).transform(({ id, name, input }): CallPart => ({ type: 'toolCall', id, name, args: input }));

// Signed, and of use to the model that thought it only.
const Thinking = z.looseObject({ type: z.enum(['thinking', 'redacted_thinking']) }).transform(() => undefined);

const Result = object({
  type: z.literal('tool_result'),
  tool_use_id: z.string().min(1),
  content: maybe(partsOf(z.discriminatedUnion('type', [Text, Picture]))),
  is_error: z.boolean().nullish(),
  toolset_name: z.null().optional(),
}).transform(
  ({ tool_use_id, content = [], is_error }): Extract<PivotMessage, { role: 'tool' }> => ({
    role: 'tool',
    callId: tool_use_id,
    parts: content,
    isError: is_error ?? false,
  }),
);

const Message = z.discriminatedUnion('role', [
  object({ role: z.literal('system'), content: partsOf(Text) }).transform((message): PivotMessage[] => [
    { role: 'system', parts: message.content },
  ]),
  object({
    role: z.literal('user'),
    content: partsOf(z.discriminatedUnion('type', [Text, Picture, Result])),
  }).transform(({ content }): PivotMessage[] => {
    const results = content.filter((part) => 'role' in part);
    const parts = content.filter((part): part is TextPart | ImagePart => !('role' in part));
    return [...results, ...(parts.length > 0 || results.length === 0 ? [{ role: 'user' as const, parts }] : [])];
  }),
  object({
    role: z.literal('assistant'),
    content: partsOf(z.discriminatedUnion('type', [Text, Call, Thinking])),
  }).transform(({ content }): PivotMessage[] => [
    { role: 'assistant', parts: content.filter((part) => part !== undefined) },
  ]),
]);

// A tool without a type is the client's own; any other is one that the provider runs or knows.
const Tool = object({
  type: z.literal('custom', 'is a tool of the provider, which this model does not have').nullish(),
  name: z.string().min(1),
  description: z.string().nullish(),
  input_schema: ObjectSchema,
  strict: z.boolean().nullish(),
  defer_loading: z.literal(false).optional(),
  allowed_callers: z.tuple([z.literal('direct')]).optional(),
}).transform(({ name, description, input_schema, strict }) => ({
  name,
  description: description ?? undefined,
  schema: input_schema,
  strict: strict ?? undefined,
}));

const single = { disable_parallel_tool_use: z.boolean().nullish() };
const ToolChoice = z.discriminatedUnion('type', [
  object({ type: z.literal('auto'), ...single }),
  object({ type: z.literal('any'), ...single }),
  object({ type: z.literal('tool'), name: z.string(), ...single }),
  object({ type: z.literal('none'), ...single }),
]);

const noBudget = 'a budget of thinking has no counterpart for this model; use output_config.effort';
const Body = object({
  model: z.string().min(1),
  max_tokens: z.int().positive(),
  system: partsOf(Text).default([]),
  messages: z.array(Message),
  tools: z.array(Tool).default([]),
  tool_choice: ToolChoice.optional(),
  stop_sequences: z.array(z.string()).default([]),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  top_k: z.number().optional(),
  thinking: z.looseObject({ type: z.enum(['disabled', 'adaptive'], noBudget) }).optional(),
  output_config: object({
    effort: z.enum(['low', 'medium', 'high', 'xhigh', 'max']).nullish(),
    format: maybe(object({ type: z.literal('json_schema'), schema: ObjectSchema })),
  }).optional(),
  stream: z.boolean().default(false),
});

/** A body of POST /v1/messages. Throws `invalid` with a problem for each field that no other wire can carry. */
export function readRequest(body: JsonObject): PivotRequest {
  const said = readBody(wire, Body, body);
  const { tool_choice: choice, output_config: output } = said;
  const messages = said.messages.flat();
  if (messages.at(-1)?.role === 'assistant') {
    throw untranslatable([
      {
        field: `messages.${said.messages.length - 1}`,
        message: 'begins the answer, which this model cannot go on with',
      },
    ]);
  }
  const alone = choice?.disable_parallel_tool_use;
  return checked({
    wire,
    model: said.model,
    system: said.system,
    messages,
    tools: said.tools,
    toolChoice: toChoice(choice),
    parallelToolCalls: alone === undefined || alone === null ? undefined : !alone,
    maxTokens: said.max_tokens,
    temperature: said.temperature,
    topP: said.top_p,
    topK: said.top_k,
    stop: said.stop_sequences,
    responseFormat: output?.format ? { name: 'answer', schema: output.format.schema, strict: true } : 'text',
    reasoningEffort: output?.effort ?? (said.thinking?.type === 'disabled' ? 'none' : undefined),
    verbosity: undefined,
    stream: said.stream,
    includeUsage: true,
  });
}

function toChoice(choice: z.infer<typeof ToolChoice> | undefined): PivotRequest['toolChoice'] {
  if (!choice) return 'auto';
  if (choice.type === 'tool') return { name: choice.name };
  return choice.type === 'any' ? 'required' : choice.type;
}
