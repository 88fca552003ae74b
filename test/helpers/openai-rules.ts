import { z } from 'zod';

// What OpenAI documents that its chat completions refuse, as far as a translated request could run into it (2026-11-30).

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
