import fc from 'fast-check';
import type { PivotAnswer, PivotRequest } from '../../services/llm-proxy/wires/pivot.ts';
import { parseObject } from '../../services/llm-proxy/wires/read.ts';

/** Texts of any script, empty ones and white space too. */
export const anyText = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.constantFrom('', ' ', '\n\n', 'Hi.'),
);
const visible = anyText.filter((text) => text.trim() !== '');
const name = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,20}$/);
const id = fc.stringMatching(/^call_[a-zA-Z0-9]{6,12}$/);
const args = fc.dictionary(name, fc.oneof(anyText, fc.integer(), fc.boolean(), fc.constant(null), fc.array(anyText)), {
  maxKeys: 4,
});
/** As both providers take it where a schema is held to the letter. */
const schema = fc.dictionary(name, fc.constant({ type: 'string' })).map((properties) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
}));

const image = fc
  .oneof(
    fc.webUrl(),
    fc
      .record({
        type: fc.constantFrom('png', 'jpeg', 'gif', 'webp'),
        bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      })
      .map(({ type, bytes }) => `data:image/${type};base64,${Buffer.from(bytes).toString('base64')}`),
  )
  .map((url) => ({ type: 'image_url', image_url: { url } }));
const textPart = anyText.map((text) => ({ type: 'text', text }));

const user = fc.oneof(
  visible.map((content) => ({ role: 'user', content })),
  fc
    .array(fc.oneof(textPart, image), { minLength: 1, maxLength: 4 })
    .filter((parts) => parts.some((part) => !('text' in part) || part.text.trim() !== ''))
    .map((content) => ({ role: 'user', content })),
);

/** What an assistant said, and the results of all its calls. */
const exchange = fc
  .record({
    content: fc.option(anyText),
    calls: fc.uniqueArray(
      fc.record({ id, name, args, result: fc.oneof(anyText, fc.array(textPart, { maxLength: 2 })) }),
      {
        selector: (call) => call.id,
        maxLength: 3,
      },
    ),
  })
  .map(({ content, calls }) => [
    {
      role: 'assistant',
      content,
      ...(calls.length > 0
        ? {
            tool_calls: calls.map((call) => ({
              id: call.id,
              type: 'function',
              function: { name: call.name, arguments: JSON.stringify(call.args) },
            })),
          }
        : {}),
    },
    ...calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: call.result })),
  ]);

const instruction = fc.record({ role: fc.constantFrom('system', 'developer'), content: visible });

const conversation = fc
  .record({
    head: fc.array(instruction, { maxLength: 2 }),
    first: user,
    rounds: fc.array(fc.record({ said: exchange, next: fc.array(fc.oneof(user, instruction), { maxLength: 2 }) }), {
      maxLength: 4,
    }),
    last: user,
  })
  .map(({ head, first, rounds, last }) => [
    ...head,
    first,
    ...rounds.flatMap(({ said, next }) => [...said, ...next]),
    last,
  ]);

const tools = fc
  .uniqueArray(
    fc.record(
      { name, description: anyText, parameters: schema, strict: fc.boolean() },
      { requiredKeys: ['name', 'parameters'] },
    ),
    {
      selector: (tool) => tool.name,
      minLength: 1,
      maxLength: 3,
    },
  )
  .chain((offered) =>
    fc.record(
      {
        tools: fc.constant(offered.map((each) => ({ type: 'function', function: each }))),
        tool_choice: fc.oneof(
          fc.constantFrom('auto', 'none', 'required'),
          fc.constantFrom(...offered).map((each) => ({ type: 'function', function: { name: each.name } })),
        ),
        parallel_tool_calls: fc.boolean(),
      },
      { requiredKeys: ['tools'] },
    ),
  );

/** Bodies of POST /v1/chat/completions that Anthropic's wire can carry. */
export const chatBody = fc
  .record({
    base: fc.record(
      {
        model: fc.constant('gpt-4.1'),
        messages: conversation,
        max_completion_tokens: fc.integer({ min: 1, max: 9_000 }),
        temperature: fc.double({ min: 0, max: 1, noNaN: true }),
        top_p: fc.double({ min: 0, max: 1, noNaN: true }),
        stop: fc.oneof(visible, fc.array(visible, { minLength: 1, maxLength: 4 })),
        stream: fc.boolean(),
        reasoning_effort: fc.constantFrom('none', 'low', 'medium', 'high', 'xhigh', 'max'),
        response_format: fc.oneof(
          fc.constant({ type: 'text' }),
          schema.map((each) => ({ type: 'json_schema', json_schema: { name: 'answer', schema: each, strict: true } })),
        ),
        user: anyText,
        metadata: fc.constant({ run: '1' }),
        service_tier: fc.constant('auto'),
        store: fc.constant(false),
      },
      { requiredKeys: ['model', 'messages'] },
    ),
    offered: fc.option(tools, { nil: {} }),
  })
  .map(({ base, offered }): Record<string, unknown> => ({ ...base, ...offered }));

type Part = PivotRequest['messages'][number]['parts'][number];
type Said = { role: string; callId?: string; isError?: boolean; parts: unknown[] };

const meant = (parts: readonly Part[]): unknown[] =>
  parts.flatMap((part): unknown[] => {
    if (part.type === 'text') return part.text.trim() === '' ? [] : [part];
    return part.type === 'toolCall' ? [{ ...part, args: parseObject(part.args) }] : [part];
  });

/** What a request means, whoever writes it: blank texts say nothing, and messages of one role are one. */
export function meaningOf(request: PivotRequest) {
  const said: Said[] = [];
  for (const message of request.messages) {
    const last = said.at(-1);
    const parts = meant(message.parts);
    if (message.role === 'tool') said.push({ ...message, parts });
    else if (last?.role === message.role) last.parts.push(...parts);
    else if (parts.length > 0) said.push({ role: message.role, parts });
  }
  const { toolChoice, tools, responseFormat } = request;
  const choice = tools.length === 0 ? 'auto' : toolChoice;
  return {
    system: meant(request.system),
    said,
    tools,
    choice,
    parallel: tools.length === 0 || choice === 'none' ? undefined : request.parallelToolCalls,
    limits: [request.maxTokens, request.temperature, request.topP, request.topK],
    stop: request.stop,
    format: typeof responseFormat === 'object' ? responseFormat.schema : responseFormat,
    effort: request.reasoningEffort,
    stream: request.stream,
  };
}

const call = fc.record({
  type: fc.constant('toolCall' as const),
  id,
  name,
  args: args.map((each) => JSON.stringify(each)),
});
const text = visible.map((each) => ({ type: 'text' as const, text: each }));
const count = fc.nat({ max: 10_000 });
const usage = fc
  .record({ fresh: count, cachedInputTokens: count, cacheWriteTokens: count, outputTokens: count })
  .map(({ fresh, ...rest }) => ({ ...rest, inputTokens: fresh + rest.cachedInputTokens + rest.cacheWriteTokens }));

const answerOf = (parts: fc.Arbitrary<PivotAnswer['parts']>): fc.Arbitrary<PivotAnswer> =>
  fc.record({ id: fc.stringMatching(/^[a-z0-9]{4,10}$/), parts, usage, cut: fc.boolean() }).map(({ cut, ...rest }) => ({
    ...rest,
    model: 'a-model',
    stopReason: cut ? 'length' : rest.parts.some(({ type }) => type === 'toolCall') ? 'tool-calls' : 'end',
  }));

/** Answers as both providers' wires can say them: a text, then calls. */
export const anyAnswer = answerOf(
  fc
    .record({ said: fc.array(text, { maxLength: 1 }), calls: fc.array(call, { maxLength: 3 }) })
    .map(({ said, calls }) => [...said, ...calls]),
);

/** Answers with calls and texts in any order, as Anthropic gives them. */
export const mixedAnswer = answerOf(
  fc
    .array(fc.record({ said: text, calls: fc.array(call, { minLength: 1, maxLength: 2 }) }), { maxLength: 3 })
    .map((rounds) => rounds.flatMap(({ said, calls }) => [said, ...calls])),
);

/** Cuts bytes at the given places, wherever they fall. */
export const cut = (bytes: Buffer, places: readonly number[]): Buffer[] => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
};
