import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { FakeAnswer, FakeRequest } from './fake-provider.ts';

export type Wire = 'anthropic' | 'openai';

export type Common = { timeMs: number; headers: IncomingHttpHeaders; body: Record<string, unknown> };

/** An answer as one JSON body, as server-sent events, and the event of an error in the middle. */
export type Frames = { whole: string; events: string[]; error: string };

const schema = z.looseObject({ properties: z.record(z.string(), z.unknown()).default({}) });

const cache_control = z.strictObject({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).optional() }).optional();
const picture = z.strictObject({
  type: z.literal('image'),
  source: z.discriminatedUnion('type', [
    z.strictObject({
      type: z.literal('base64'),
      media_type: z.enum(['image/png', 'image/jpeg', 'image/gif', 'image/webp']),
      data: z.string(),
    }),
    z.strictObject({ type: z.literal('url'), url: z.string() }),
  ]),
  cache_control,
});

const AnthropicBody = z.looseObject({
  model: z.string(),
  max_tokens: z.number().int().positive(),
  system: z
    .union([
      z.string(),
      z.array(z.strictObject({ type: z.literal('text'), text: z.string().regex(/\S/), cache_control })).min(1),
    ])
    .default(''),
  stream: z.boolean().default(false),
  tools: z.array(z.looseObject({ name: z.string(), input_schema: schema, cache_control })).default([]),
  tool_choice: z
    .union([
      z.object({ type: z.literal('tool'), name: z.string() }),
      z.object({ type: z.enum(['auto', 'any', 'none']) }),
    ])
    .optional(),
  messages: z.array(
    z.object({
      role: z.enum(['user', 'assistant', 'system']),
      content: z.array(
        z.discriminatedUnion('type', [
          z.strictObject({ type: z.literal('text'), text: z.string().regex(/\S/), cache_control }),
          picture,
          z.strictObject({ type: z.literal('thinking'), thinking: z.string(), signature: z.string() }),
          z.strictObject({ type: z.literal('redacted_thinking'), data: z.string() }),
          z.strictObject({
            type: z.literal('tool_use'),
            id: z.string(),
            name: z.string(),
            input: z.record(z.string(), z.unknown()),
            cache_control,
          }),
          z.strictObject({
            type: z.literal('tool_result'),
            tool_use_id: z.string(),
            content: z
              .union([
                z.string(),
                z.array(
                  z.discriminatedUnion('type', [
                    z.strictObject({ type: z.literal('text'), text: z.string() }),
                    picture,
                  ]),
                ),
              ])
              .default(''),
            is_error: z.boolean().default(false),
            cache_control,
          }),
        ]),
      ),
    }),
  ),
});

/** A picture is seen as its media type and size. */
const textOf = (content: string | ({ type: 'text'; text: string } | z.infer<typeof picture>)[]): string => {
  if (typeof content === 'string') return content;
  return content.map((part) => (part.type === 'text' ? part.text : pictureOf(part.source))).join(' ');
};
const pictureOf = (source: z.infer<typeof picture>['source']) =>
  source.type === 'url' ? `[${source.url}]` : `[${source.media_type}, ${source.data.length} characters]`;

/** Reads a body of POST /v1/messages, and is as strict about it as the real one where it matters. */
export function parseAnthropic(common: Common): FakeRequest {
  const { model, system: asked, tools, tool_choice, messages, stream } = AnthropicBody.parse(common.body);
  const system = typeof asked === 'string' ? asked : asked.map(({ text }) => text).join('\n');
  const blocks: Record<string, unknown>[] = [
    ...tools,
    ...(typeof asked === 'string' ? [{ type: 'text', text: asked }] : asked),
    ...messages.flatMap(({ role, content }) => content.map((block) => ({ role, ...block }))),
  ];
  const cached = prefixesOf(blocks);
  if (cached.length > 4) throw new Error('A maximum of 4 blocks with cache_control may be provided');
  const turns = messages.filter(({ role }) => role !== 'system');
  if (turns.some(({ role }, index) => role !== (index % 2 === 0 ? 'user' : 'assistant')))
    throw new Error('roles must alternate');
  const said = turns.flatMap(({ role, content }): FakeRequest['messages'] => {
    if (role === 'assistant') {
      const text = content.map((block) => (block.type === 'text' ? block.text : '')).join('');
      return [
        {
          role,
          text,
          tools: content.flatMap((block) => (block.type === 'tool_use' ? [block.name] : [])),
          isError: false,
        },
      ];
    }
    return content.map((block) =>
      block.type === 'tool_result'
        ? { role: 'tool', text: textOf(block.content), tools: [], isError: block.is_error }
        : { role: 'user', text: block.type === 'text' ? block.text : '', tools: [], isError: false },
    );
  });
  return {
    ...common,
    ...summary('anthropic', system, said),
    cached,
    cacheKey: undefined,
    model,
    tools: Object.fromEntries(tools.map(({ name, input_schema }) => [name, Object.keys(input_schema.properties)])),
    forced: tool_choice?.type === 'tool' ? tool_choice.name : undefined,
    stream,
  };
}

/** The prompt up to each mark, the marks left out: what this wire keeps, and what a later call must begin with to find it. */
function prefixesOf(blocks: readonly Record<string, unknown>[]): string[] {
  const plain = blocks.map(({ cache_control: _, ...block }) => JSON.stringify(block));
  return blocks.flatMap((block, index) => (block.cache_control ? [plain.slice(0, index + 1).join('\n')] : []));
}

const OpenAiBody = z.looseObject({
  model: z.string(),
  prompt_cache_key: z.string().max(64).optional(),
  stream: z.boolean().default(false),
  tools: z
    .array(z.object({ type: z.literal('function'), function: z.looseObject({ name: z.string(), parameters: schema }) }))
    .default([]),
  tool_choice: z.object({ type: z.literal('function'), function: z.object({ name: z.string() }) }).optional(),
  messages: z.array(
    z.discriminatedUnion('role', [
      z.strictObject({ role: z.literal('system'), content: z.string() }),
      z.strictObject({
        role: z.literal('user'),
        content: z.union([
          z.string(),
          z
            .array(
              z.discriminatedUnion('type', [
                z.strictObject({ type: z.literal('text'), text: z.string() }),
                z.strictObject({
                  type: z.literal('image_url'),
                  image_url: z.strictObject({ url: z.string().startsWith('data:image/') }),
                }),
              ]),
            )
            .min(1)
            .transform((parts) =>
              parts
                .map((part) =>
                  part.type === 'text'
                    ? part.text
                    : `[${part.image_url.url.split(';')[0]?.slice(5)}, ${(part.image_url.url.split(',')[1] ?? '').length} characters]`,
                )
                .join(' '),
            ),
        ]),
      }),
      z.strictObject({ role: z.literal('tool'), tool_call_id: z.string(), content: z.string() }),
      z.strictObject({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        reasoning_content: z.string().optional(),
        tool_calls: z
          .array(
            z.strictObject({
              id: z.string(),
              type: z.literal('function'),
              function: z.strictObject({ name: z.string(), arguments: z.string() }),
            }),
          )
          .min(1)
          .optional(),
      }),
    ]),
  ),
});

/** Reads a body of POST /v1/chat/completions. */
export function parseOpenAi(common: Common): FakeRequest {
  const { model, prompt_cache_key, tools, tool_choice, messages, stream } = OpenAiBody.parse(common.body);
  const system = messages.flatMap((each) => (each.role === 'system' ? [each.content] : [])).join('\n');
  const said = messages.flatMap((each): FakeRequest['messages'] => {
    if (each.role === 'system') return [];
    const called = each.role === 'assistant' ? (each.tool_calls ?? []) : [];
    const isError = each.role === 'tool' && each.content.startsWith('Error: ');
    return [{ role: each.role, text: each.content ?? '', tools: called.map((call) => call.function.name), isError }];
  });
  return {
    ...common,
    ...summary('openai', system, said),
    cached: [],
    cacheKey: prompt_cache_key,
    model,
    tools: Object.fromEntries(
      tools.map((tool) => [tool.function.name, Object.keys(tool.function.parameters.properties)]),
    ),
    forced: tool_choice?.function.name,
    stream,
  };
}

export const summary = (wire: Wire, system: string, messages: FakeRequest['messages']) => ({
  wire,
  system,
  messages,
  conversation: JSON.stringify([system, messages]),
  turns: messages.filter(({ role }) => role === 'assistant').length,
});

export const defaults = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 0, cacheWriteTokens: 0 };
export const halves = (text: string) =>
  [text.slice(0, text.length / 2), text.slice(text.length / 2)].filter((part) => part !== '');
export const callsOf = ({ toolCalls = [] }: FakeAnswer) =>
  toolCalls.map(({ tool, args = {}, raw, callId }, index) => ({
    id: callId ?? `fake_call_${index + 1}`,
    tool,
    args,
    json: raw ?? JSON.stringify(args),
  }));

/** An answer on Anthropic's wire, where cached input is counted apart. */
export function sendAnthropic(request: FakeRequest, answer: FakeAnswer): Frames {
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = { ...defaults, ...answer.usage };
  const calls = callsOf(answer);
  const blocks = [
    ...(answer.thinking
      ? [
          {
            start: { type: 'thinking', thinking: '', signature: '' },
            deltas: [
              { type: 'thinking_delta', thinking: answer.thinking },
              { type: 'signature_delta', signature: answer.signature ?? 'signed' },
            ],
          },
        ]
      : []),
    ...(answer.text
      ? [
          {
            start: { type: 'text', text: '' },
            deltas: halves(answer.text).map((text) => ({ type: 'text_delta', text })),
          },
        ]
      : []),
    ...calls.map(({ id, tool, json }) => ({
      start: { type: 'tool_use', id, name: tool, input: {} },
      deltas: halves(json).map((partial_json) => ({ type: 'input_json_delta', partial_json })),
    })),
  ];
  const usage = {
    input_tokens: inputTokens - cachedInputTokens - cacheWriteTokens,
    cache_read_input_tokens: cachedInputTokens,
    cache_creation_input_tokens: cacheWriteTokens,
    output_tokens: 1,
  };
  const message = {
    id: answer.id ?? 'msg_fake',
    type: 'message',
    role: 'assistant',
    model: answer.model ?? request.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage,
  };
  const stop_reason = answer.stopReason ?? (calls.length > 0 ? 'tool_use' : 'end_turn');
  const event = (data: { type: string; [field: string]: unknown }) =>
    `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`;
  return {
    whole: JSON.stringify({
      ...message,
      content: [
        ...(answer.text ? [{ type: 'text', text: answer.text }] : []),
        ...calls.map(({ id, tool, args }) => ({ type: 'tool_use', id, name: tool, input: args })),
      ],
      stop_reason,
      usage: { ...usage, output_tokens: outputTokens },
    }),
    events: [
      event({ type: 'message_start', message }),
      event({ type: 'ping' }),
      ...blocks.flatMap(({ start, deltas }, index) => [
        event({ type: 'content_block_start', index, content_block: start }),
        ...deltas.map((delta) => event({ type: 'content_block_delta', index, delta })),
        event({ type: 'content_block_stop', index }),
      ]),
      event({
        type: 'message_delta',
        delta: { stop_reason, stop_sequence: null },
        usage: { output_tokens: outputTokens },
      }),
      event({ type: 'message_stop' }),
    ],
    error: event({ type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }),
  };
}

/** An answer on OpenAI's wire. */
export function sendOpenAi(request: FakeRequest, answer: FakeAnswer): Frames {
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = { ...defaults, ...answer.usage };
  const calls = callsOf(answer);
  const head = { id: 'chatcmpl-fake', created: 1, model: answer.model ?? request.model };
  const usage = {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: cacheWriteTokens },
  };
  const finish_reason = answer.stopReason ?? (calls.length > 0 && !request.forced ? 'tool_calls' : 'stop');
  const data = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
  const chunk = (delta: object, finish: string | null = null) =>
    data({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] });
  return {
    whole: JSON.stringify({
      ...head,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          finish_reason,
          message: {
            role: 'assistant',
            content: answer.text ?? null,
            tool_calls: calls.map(({ id, tool, json }) => ({
              id,
              type: 'function',
              function: { name: tool, arguments: json },
            })),
          },
        },
      ],
      usage,
    }),
    events: [
      chunk({ role: 'assistant', content: '' }),
      ...halves(answer.text ?? '').map((content) => chunk({ content })),
      ...calls.flatMap(({ id, tool, json }, index) => [
        chunk({ tool_calls: [{ index, id, type: 'function', function: { name: tool, arguments: '' } }] }),
        ...halves(json).map((part) => chunk({ tool_calls: [{ index, function: { arguments: part } }] })),
      ]),
      chunk({}, finish_reason),
      data({ ...head, object: 'chat.completion.chunk', choices: [], usage }),
      'data: [DONE]\n\n',
    ],
    error: data({ error: { type: 'server_error', message: 'Overloaded' } }),
  };
}
