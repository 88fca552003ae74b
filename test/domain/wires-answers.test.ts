import test from 'ava';
import { bareId } from '../../services/llm-proxy/wires/answers.ts';
import { fromAnswer, toChatRequest } from '../../services/llm-proxy/wires/contract/wire.ts';
import type { PivotAnswer } from '../../services/llm-proxy/wires/pivot.ts';
import { usageIn } from '../../services/llm-proxy/wires/usage.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const request = openAiChat.readRequest({
  model: 'm',
  messages: [{ role: 'user', content: 'Hi.' }],
  stream: true,
  stream_options: { include_usage: true },
});
const reply = { request, createdS: 1_700_000_000 };

const bare = (answer: PivotAnswer) => ({ ...answer, id: bareId(answer.id), stopSequence: undefined });

test('a refusal in words stays one, and one without words has a reason of its own', (t) => {
  const usage = undefined;
  const refusal: PivotAnswer = {
    id: 'a',
    model: 'm',
    parts: [{ type: 'refusal', text: 'No.' }],
    stopReason: 'refusal',
    usage,
  };
  t.deepEqual(bare(openAiChat.readAnswer(openAiChat.writeAnswer(refusal, reply))), bare(refusal));
  t.like(anthropic.writeAnswer(refusal, reply), { stop_reason: 'refusal', content: [{ type: 'text', text: 'No.' }] });
  t.like(openAiChat.writeAnswer({ ...refusal, parts: [] }, reply), { choices: [{ finish_reason: 'content_filter' }] });
  t.like(openAiResponses.writeAnswer({ ...refusal, parts: [] }, reply), {
    status: 'incomplete',
    incomplete_details: { reason: 'content_filter' },
  });
});

test("a call that the token limit cut is no call on Anthropic's wire, and broken arguments are the provider's fault", (t) => {
  const parts: PivotAnswer['parts'] = [{ type: 'toolCall', id: 'c', name: 'go', args: '{"a":' }];
  const answer: PivotAnswer = { id: 'a', model: 'm', parts, stopReason: 'length', usage: undefined };
  t.like(anthropic.writeAnswer(answer, reply), { content: [], stop_reason: 'max_tokens' });
  t.throws(() => anthropic.writeAnswer({ ...answer, stopReason: 'tool-calls' }, reply), {
    message: /go with arguments/,
  });
});

test('a provider that ends its stream with an error is quoted, with a code that a caller can act on', (t) => {
  const chat = openAiChat.createEventReader();
  t.like(chat.read({ data: '{"error":{"message":"too many","type":"rate_limit_exceeded"}}' })[0], {
    error: { code: 'limited', status: 429 },
  });
  t.deepEqual(chat.end(), []);
  const messages = anthropic.createEventReader();
  const [error] = messages.read({
    data: '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
  });
  t.like(error, {
    type: 'error',
    error: { code: 'unavailable', message: "the model's provider ended the answer: Overloaded" },
  });
});

const usages: [string, unknown, [number, number, number, number] | undefined][] = [
  [
    'chat',
    {
      usage: {
        prompt_tokens: 10,
        completion_tokens: 4,
        prompt_tokens_details: { cached_tokens: 3, cache_write_tokens: 2 },
      },
    },
    [10, 4, 3, 2],
  ],
  ['a chat chunk without details', { choices: [], usage: { prompt_tokens: 10, completion_tokens: 4 } }, [10, 4, 0, 0]],
  ['a chat chunk before the last', { choices: [{}], usage: null }, undefined],
  ['embeddings', { data: [], usage: { prompt_tokens: 8, total_tokens: 8 } }, [8, 0, 0, 0]],
  [
    'responses',
    {
      usage: { input_tokens: 10, output_tokens: 4, input_tokens_details: { cached_tokens: 3, cache_write_tokens: 0 } },
    },
    [10, 4, 3, 0],
  ],
  [
    'the last event of responses',
    {
      type: 'response.completed',
      response: { usage: { input_tokens: 10, output_tokens: 4, input_tokens_details: { cached_tokens: 3 } } },
    },
    [10, 4, 3, 0],
  ],
  [
    'Anthropic',
    { usage: { input_tokens: 5, output_tokens: 4, cache_read_input_tokens: 3, cache_creation_input_tokens: 2 } },
    [10, 4, 3, 2],
  ],
  [
    'the first event of Anthropic',
    { type: 'message_start', message: { usage: { input_tokens: 5, output_tokens: 1, cache_read_input_tokens: null } } },
    [5, 1, 0, 0],
  ],
  [
    'more cached than there was',
    { usage: { prompt_tokens: 1, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 9 } } },
    [1, 1, 1, 0],
  ],
  ['negative counts', { usage: { prompt_tokens: -1, completion_tokens: 1 } }, undefined],
  ['no usage', { id: 'a' }, undefined],
  ['no object', 'usage', undefined],
];

for (const [name, body, expected] of usages) {
  test(`usage is read: ${name}`, (t) => {
    const [inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens] = expected ?? [];
    t.deepEqual<unknown, unknown>(
      usageIn(body),
      expected && { inputTokens, outputTokens, cachedInputTokens, cacheWriteTokens },
    );
  });
}

test('the end of an Anthropic stream that tells its output only leaves the input as it was told', (t) => {
  const first = usageIn({ message: { usage: { input_tokens: 5, output_tokens: 1, cache_read_input_tokens: 3 } } });
  t.deepEqual(usageIn({ usage: { output_tokens: 7 } }, first), {
    inputTokens: 8,
    outputTokens: 7,
    cachedInputTokens: 3,
    cacheWriteTokens: 0,
  });
});

test('a request becomes one of our own contract, and its answer one of any wire', (t) => {
  const typed = toChatRequest(
    openAiChat.readRequest({
      model: 'demo',
      temperature: 0,
      max_tokens: 50,
      messages: [
        { role: 'system', content: 'Be short.' },
        { role: 'user', content: 'Go.' },
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c', type: 'function', function: { name: 'go', arguments: '{"a":1}' } }],
        },
        { role: 'tool', tool_call_id: 'c', content: 'gone' },
      ],
      tools: [{ type: 'function', function: { name: 'go', description: 'Goes.' } }],
      tool_choice: 'required',
    }),
  );
  t.deepEqual(typed, {
    model: 'demo',
    system: 'Be short.',
    messages: [
      { role: 'user', text: 'Go.' },
      { role: 'assistant', text: '', toolCalls: [{ callId: 'c', tool: 'go', args: { a: 1 } }] },
      { role: 'tool', callId: 'c', text: 'gone', isError: false },
    ],
    tools: [{ name: 'go', description: 'Goes.', inputSchema: { type: 'object', properties: {} } }],
    toolChoice: { name: 'go' },
    maxOutputTokens: 50,
    temperature: 0,
  });
  const answer = fromAnswer(
    { text: 'Hi.', toolCalls: [{ callId: 'c', tool: 'go', args: {} }], stopReason: 'tool-calls' },
    { id: 'x', model: 'demo', usage: undefined },
  );
  t.like(anthropic.writeAnswer(answer, reply), {
    id: 'msg_x',
    content: [{ text: 'Hi.' }, { name: 'go', input: {} }],
    stop_reason: 'tool_use',
  });
});
