import type { FakeAnswer, FakeRequest } from './fake-provider.ts';
import type { Common, Frames } from './fake-wires.ts';
import { callsOf, defaults, halves, summary } from './fake-wires.ts';
import { ResponsesBody, sealThinking } from './openai-rules.ts';

type Shown = string | { type: string; text?: string }[];
const textOf = (content: Shown): string =>
  typeof content === 'string' ? content : content.map(({ type, text }) => text ?? `[${type}]`).join(' ');

/** Reads a body of POST /v1/responses. */
export function parseResponses(common: Common): FakeRequest {
  const {
    model,
    instructions = '',
    input,
    tools = [],
    tool_choice,
    stream = false,
    prompt_cache_key,
  } = ResponsesBody.parse(common.body);
  const items = typeof input === 'string' ? [{ role: 'user' as const, content: input }] : input;
  const messages = items.flatMap((item): FakeRequest['messages'] => {
    if ('role' in item) {
      const isUser = item.role === 'user';
      if (!isUser && item.role !== 'assistant') return [];
      return [{ role: isUser ? 'user' : 'assistant', text: textOf(item.content), tools: [], isError: false }];
    }
    if (item.type === 'function_call') return [{ role: 'assistant', text: '', tools: [item.name], isError: false }];
    if (item.type !== 'function_call_output') return [];
    const text = textOf(item.output);
    return [{ role: 'tool', text, tools: [], isError: text.startsWith('Error:') }];
  });
  return {
    ...common,
    ...summary('openai', instructions, messages),
    isResponses: true,
    cached: [],
    cacheKey: prompt_cache_key,
    model,
    tools: Object.fromEntries(tools.map(({ name, parameters }) => [name, Object.keys(parameters.properties ?? {})])),
    forced: typeof tool_choice === 'object' ? tool_choice.name : undefined,
    stream,
  };
}

/** An answer of OpenAI's responses: what it thought, what it said, and its calls, each an item. */
export function sendResponses(request: FakeRequest, answer: FakeAnswer): Frames {
  const { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens } = { ...defaults, ...answer.usage };
  const model = answer.model ?? request.model;
  const thoughtId = `rs_${request.messages.length}`;
  const output = [
    ...(answer.thinking
      ? [{ type: 'reasoning', id: thoughtId, summary: [], encrypted_content: sealThinking(request.model, thoughtId) }]
      : []),
    ...(answer.text
      ? [
          {
            type: 'message',
            id: 'msg_fake',
            role: 'assistant',
            status: 'completed',
            content: [{ type: 'output_text', text: answer.text, annotations: [], logprobs: [] }],
          },
        ]
      : []),
    ...callsOf(answer).map(({ id, tool, json }, index) => ({
      type: 'function_call',
      id: `fc_${index}`,
      call_id: id,
      name: tool,
      arguments: json,
      status: 'completed',
    })),
  ];
  const head = { id: answer.id ?? 'resp_fake', object: 'response', created_at: 1, model, error: null };
  const cut = answer.stopReason === undefined ? null : { reason: answer.stopReason };
  const whole = {
    ...head,
    status: cut ? 'incomplete' : 'completed',
    incomplete_details: cut,
    output,
    usage: {
      input_tokens: inputTokens,
      input_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: cacheWriteTokens },
      output_tokens: outputTokens,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: inputTokens + outputTokens,
    },
  };
  let sequence_number = 0;
  const event = (type: string, data: object) =>
    `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence_number++, ...data })}\n\n`;
  const begun = { ...head, status: 'in_progress', incomplete_details: null, output: [], usage: null };
  return {
    whole: JSON.stringify(whole),
    events: [
      event('response.created', { response: begun }),
      event('response.in_progress', { response: begun }),
      ...output.flatMap((item, output_index) => {
        const place = { item_id: item.id, output_index };
        const added = (fields: object) =>
          event('response.output_item.added', { output_index, item: { ...item, ...fields } });
        const done = () => event('response.output_item.done', { output_index, item });
        if ('arguments' in item) {
          const deltas = halves(item.arguments).map((delta) =>
            event('response.function_call_arguments.delta', { ...place, delta }),
          );
          return [added({ arguments: '', status: 'in_progress' }), ...deltas, done()];
        }
        // What it has of its thinking at first is not whole.
        if (!('content' in item)) return [added({ encrypted_content: 'part' }), done()];
        const deltas = halves(answer.text ?? '').map((delta) =>
          event('response.output_text.delta', { ...place, content_index: 0, delta, logprobs: [] }),
        );
        return [added({ content: [], status: 'in_progress' }), ...deltas, done()];
      }),
      event(cut ? 'response.incomplete' : 'response.completed', { response: whole }),
    ],
    error: event('error', { code: 'server_error', message: 'Overloaded', param: null }),
  };
}
