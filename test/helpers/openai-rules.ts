import { z } from 'zod';

// What OpenAI documents that its chat completions and its responses refuse, as far as a translated request could run into it (2026-11-30).

const Schema: z.ZodType<Schema> = z.looseObject({
  get properties() {
    return z.record(z.string(), Schema).optional();
  },
  required: z.array(z.string()).optional(),
  additionalProperties: z.unknown().optional(),
});
type Schema = {
  properties?: Record<string, Schema> | undefined;
  required?: string[] | undefined;
  additionalProperties?: unknown;
};

const Call = z.strictObject({
  id: z.string(),
  type: z.literal('function'),
  function: z.strictObject({ name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/), arguments: z.string() }),
});
const Text = z.strictObject({ type: z.literal('text'), text: z.string() });
const Content = z.union([
  z.string(),
  z.array(
    z.discriminatedUnion('type', [
      Text,
      z.strictObject({ type: z.literal('image_url'), image_url: z.strictObject({ url: z.string() }) }),
      z.strictObject({
        type: z.literal('file'),
        file: z.strictObject({
          filename: z.string(),
          file_data: z.string().startsWith('data:application/pdf;base64,'),
        }),
      }),
    ]),
  ),
]);
const Words = z.union([z.string(), z.array(Text)]);

const Body = z.strictObject({
  model: z.string(),
  messages: z.array(
    z.discriminatedUnion('role', [
      z.strictObject({ role: z.literal('system'), content: Words }),
      z.strictObject({ role: z.literal('user'), content: Content }),
      z.strictObject({ role: z.literal('tool'), tool_call_id: z.string(), content: Words }),
      z.strictObject({
        role: z.literal('assistant'),
        content: Words.nullable(),
        tool_calls: z.array(Call).min(1).optional(),
        // Not OpenAI's own: of servers that speak alike and think.
        reasoning_content: z.string().optional(),
      }),
    ]),
  ),
  max_tokens: z.int().positive().optional(),
  max_completion_tokens: z.int().positive().optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  stop: z.array(z.string()).max(4).optional(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal('function'),
        function: z.strictObject({
          name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
          description: z.string().optional(),
          parameters: Schema,
          strict: z.boolean().optional(),
        }),
      }),
    )
    .min(1)
    .optional(),
  tool_choice: z.unknown().optional(),
  parallel_tool_calls: z.boolean().optional(),
  response_format: z
    .looseObject({
      json_schema: z.strictObject({ name: z.string(), schema: Schema, strict: z.boolean().optional() }).optional(),
    })
    .optional(),
  reasoning_effort: z.string().optional(),
  verbosity: z.string().optional(),
  stream: z.boolean().optional(),
  stream_options: z.unknown().optional(),
});
type Body = z.infer<typeof Body>;

/** The words of the 400 with which OpenAI refuses a request; undefined: it takes it. */
export function refusalOfOpenAi(json: unknown): string | undefined {
  const { data: body, error } = Body.safeParse(json);
  if (!body) return z.prettifyError(error);
  return refusedEffort(body) ?? refusedIds(body) ?? refusedSchemas(body);
}

const thinks = (model: string) => /^(o\d|gpt-[56])/.test(model);

const usual = ['low', 'medium', 'high'];
/** The efforts that chat completions take, newest models first (model pages and refusals of OpenAI, 2026-11-30). */
const efforts: [RegExp, string[]][] = [
  [/^gpt-6(-astra|\.1-sol|\.2-)/, [...usual, 'xhigh']],
  [/^gpt-(6|5\.[4-9]|5\.2$)/, ['none', ...usual, 'xhigh']],
  [/^gpt-5\.1$/, ['none', ...usual]],
  [/^gpt-5(-mini|-nano)?$/, ['minimal', ...usual]],
  [/^o\d/, usual],
];

function refusedEffort({ model, reasoning_effort: effort, tools, temperature, top_p }: Body): string | undefined {
  if (/codex/.test(model))
    return 'This is not a chat model and thus not supported in the v1/chat/completions endpoint.';
  if (!thinks(model))
    return effort && /^gpt-/.test(model) ? `Unrecognized request argument: reasoning_effort` : undefined;
  if (temperature !== undefined || top_p !== undefined) return `Unsupported parameter with ${model}`;
  const taken = efforts.find(([name]) => name.test(model))?.[1];
  if (effort && taken?.includes(effort) === false)
    return `Unsupported value: '${effort}'. Supported values are: ${taken}`;
  if (tools && effort !== 'none' && /^gpt-(5\.[4-9]|6)/.test(model))
    return `Function tools with reasoning_effort are not supported for ${model} in /v1/chat/completions`;
  return undefined;
}

function refusedIds({ messages }: Body): string | undefined {
  const calls = messages.flatMap((each) =>
    each.role === 'assistant' ? (each.tool_calls ?? []).map(({ id }) => id) : [],
  );
  const results = messages.flatMap((each) => (each.role === 'tool' ? [each.tool_call_id] : []));
  const long = [...calls, ...results].find((id) => id.length > 40);
  if (long) return `string too long. Expected a string with maximum length 40, but got ${long.length}`;
  return calls.every((id) => results.includes(id)) ? undefined : 'tool_call_ids did not have response messages';
}

function refusedSchemas({ response_format: format, tools = [] }: Body): string | undefined {
  const strict = [
    ...(format?.json_schema?.strict ? [format.json_schema.schema] : []),
    ...tools.flatMap(({ function: { strict: held, parameters } }) => (held ? [parameters] : [])),
  ];
  return strict.every(isClosed)
    ? undefined
    : "Invalid schema: 'required' is required to include every key in properties";
}

function isClosed({ properties, required = [], additionalProperties }: Schema): boolean {
  if (!properties) return true;
  const names = Object.keys(properties);
  return (
    additionalProperties === false &&
    names.every((name) => required.includes(name)) &&
    Object.values(properties).every(isClosed)
  );
}

const Shown = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('input_text'), text: z.string() }),
  z.strictObject({ type: z.literal('input_image'), image_url: z.string(), detail: z.enum(['auto', 'low', 'high']) }),
  z.strictObject({
    type: z.literal('input_file'),
    filename: z.string(),
    file_data: z.string().startsWith('data:application/pdf;base64,'),
  }),
]);
const ShownContent = z.union([z.string(), z.array(Shown).min(1)]);
const type = z.literal('message').optional();
const Item = z.union([
  z.strictObject({ type, role: z.enum(['system', 'developer', 'user']), content: ShownContent }),
  z.strictObject({ type, role: z.literal('assistant'), content: z.string() }),
  z.strictObject({
    type: z.literal('function_call'),
    call_id: z.string().max(64),
    name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
    arguments: z.string(),
  }),
  z.strictObject({ type: z.literal('function_call_output'), call_id: z.string().max(64), output: ShownContent }),
  z.strictObject({
    type: z.literal('reasoning'),
    id: z.string().startsWith('rs_'),
    summary: z.array(z.strictObject({ type: z.literal('summary_text'), text: z.string() })),
    encrypted_content: z.string(),
  }),
]);

/** A body of POST /v1/responses. */
export const ResponsesBody = z.strictObject({
  model: z.string(),
  store: z.boolean().optional(),
  include: z.array(z.literal('reasoning.encrypted_content')).optional(),
  instructions: z.string().optional(),
  input: z.union([z.string(), z.array(Item)]),
  max_output_tokens: z.int().min(16).optional(),
  temperature: z.number().optional(),
  top_p: z.number().optional(),
  tools: z
    .array(
      z.strictObject({
        type: z.literal('function'),
        name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
        description: z.string().optional(),
        parameters: Schema,
        strict: z.boolean().nullish(),
      }),
    )
    .min(1)
    .optional(),
  tool_choice: z
    .union([z.enum(['auto', 'none', 'required']), z.strictObject({ type: z.literal('function'), name: z.string() })])
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  text: z
    .strictObject({
      format: z.looseObject({ type: z.string(), schema: Schema.optional(), strict: z.boolean().optional() }).optional(),
      verbosity: z.enum(['low', 'medium', 'high']).optional(),
    })
    .optional(),
  reasoning: z.strictObject({ effort: z.string() }).optional(),
  stream: z.boolean().optional(),
  prompt_cache_key: z.string().max(64).optional(),
  service_tier: z.enum(['auto', 'default', 'flex', 'priority', 'fast']).optional(),
  metadata: z.record(z.string(), z.string()).optional(),
});
type ResponsesBody = z.infer<typeof ResponsesBody>;

/** What the tests' fake puts into a reasoning item as its encrypted content. */
export const sealThinking = (model: string, id: string): string =>
  Buffer.from(JSON.stringify({ model, id })).toString('base64');

/** The words of the 400 with which OpenAI's responses refuse a request; undefined: they take it. */
export function refusalOfResponses(json: unknown): string | undefined {
  const { data: body, error } = ResponsesBody.safeParse(json);
  if (!body) return z.prettifyError(error);
  return refusedByModel(body) ?? refusedInput(body) ?? refusedStrict(body);
}

function refusedByModel({ model, include, reasoning, temperature, top_p }: ResponsesBody): string | undefined {
  if (!thinks(model)) {
    if (reasoning) return "Unsupported parameter: 'reasoning.effort' is not supported with this model.";
    return include?.length ? 'Encrypted content is not supported with this model.' : undefined;
  }
  if (temperature !== undefined || top_p !== undefined) return `Unsupported parameter with ${model}`;
  const effort = reasoning?.effort;
  const taken = /codex/.test(model) ? [...usual, 'xhigh'] : efforts.find(([name]) => name.test(model))?.[1];
  if (effort && taken && ![...taken, 'max'].includes(effort)) return `Unsupported value: '${effort}'`;
  return undefined;
}

function refusedInput({ model, input }: ResponsesBody): string | undefined {
  const items = typeof input === 'string' ? [] : input;
  const idsOf = (type: string) =>
    items.flatMap((each) => (each.type === type && 'call_id' in each ? [each.call_id] : []));
  const [calls, results] = [idsOf('function_call'), idsOf('function_call_output')];
  const open = calls.find((id) => !results.includes(id));
  if (open) return `No tool output found for function call ${open}.`;
  const loose = results.find((id) => !calls.includes(id));
  if (loose) return `No tool call found for function call output with call_id ${loose}.`;
  for (const [index, item] of items.entries()) {
    if (item.type !== 'reasoning') continue;
    const next = items[index + 1];
    const isFollowed =
      next &&
      (next.type === 'reasoning' || next.type === 'function_call' || ('role' in next && next.role === 'assistant'));
    if (!isFollowed) return `Item '${item.id}' of type 'reasoning' was provided without its required following item.`;
    if (item.encrypted_content !== sealThinking(model, item.id))
      return `invalid_encrypted_content: The encrypted content for item ${item.id} could not be verified.`;
  }
  return undefined;
}

function refusedStrict({ tools = [], text }: ResponsesBody): string | undefined {
  const strict = [
    ...(text?.format?.strict && text.format.schema ? [text.format.schema] : []),
    // What is not said is strict.
    ...tools.flatMap(({ strict: held, parameters }) => (held === false ? [] : [parameters])),
  ];
  return strict.every(isClosed)
    ? undefined
    : "Invalid schema: 'required' is required to include every key in properties";
}
