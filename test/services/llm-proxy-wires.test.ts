import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startTranslator } from '#test/helpers/translator.ts';
import { anthropic, openAiChat } from '../../services/llm-proxy/wires/wires.ts';

const said: FakeReply = {
  text: 'I look — twice. 🔎',
  toolCalls: [
    { tool: 'look', args: { at: 'a' }, callId: 'call_a' },
    { tool: 'look', args: {}, raw: '{"at": "ü"}', callId: 'call_b' },
    { tool: 'rest', args: {}, callId: 'call_c' },
  ],
  usage: { inputTokens: 30, outputTokens: 9, cachedInputTokens: 20 },
};
// What the fake sends whole has the arguments as they were given, so both calls say the same there.
const whole: FakeReply = {
  ...said,
  toolCalls: said.toolCalls?.map(({ raw, ...call }) => (raw ? { ...call, args: { at: 'ü' } } : call)),
};

const schema = { type: 'object' as const, properties: { at: { type: 'string' } } };
const expected = {
  text: 'I look — twice. 🔎',
  calls: [
    { id: 'call_a', name: 'look', args: { at: 'a' } },
    { id: 'call_b', name: 'look', args: { at: 'ü' } },
    { id: 'call_c', name: 'rest', args: {} },
  ],
  usage: [30, 9, 20],
};

async function setUp(upstream: 'openai' | 'anthropic', reply: FakeReply) {
  const fake = await startFakeProvider({ script: () => reply });
  const translator = await startTranslator({ wire: upstream === 'openai' ? openAiChat : anthropic, url: fake.url });
  const openai = new OpenAI({ apiKey: 'k', baseURL: `${translator.url}/v1`, maxRetries: 0, logLevel: 'off' });
  const claude = new Anthropic({ apiKey: 'k', baseURL: translator.url, maxRetries: 0, logLevel: 'off' });
  return {
    fake,
    openai,
    claude,
    async [Symbol.asyncDispose]() {
      await translator[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}

const chatBody = {
  model: 'm',
  messages: [
    { role: 'system' as const, content: 'Be short.' },
    { role: 'user' as const, content: 'Look.' },
  ],
  tools: ['look', 'rest'].map((name) => ({
    type: 'function' as const,
    function: { name, description: '', parameters: schema },
  })),
};
const responsesBody = {
  model: 'm',
  instructions: 'Be short.',
  input: 'Look.',
  tools: ['look', 'rest'].map((name) => ({ type: 'function' as const, name, strict: null, parameters: schema })),
};
const messagesBody = {
  model: 'm',
  max_tokens: 100,
  system: 'Be short.',
  messages: [{ role: 'user' as const, content: 'Look.' }],
  tools: ['look', 'rest'].map((name) => ({ name, input_schema: schema })),
};

const ofChat = ({ choices: [choice], usage }: OpenAI.ChatCompletion) => ({
  text: choice?.message.content,
  calls: choice?.message.tool_calls?.map((call) =>
    call.type === 'function'
      ? { id: call.id, name: call.function.name, args: JSON.parse(call.function.arguments) }
      : call,
  ),
  usage: [usage?.prompt_tokens, usage?.completion_tokens, usage?.prompt_tokens_details?.cached_tokens],
});
const ofResponse = ({ output, output_text, usage }: OpenAI.Responses.Response) => ({
  text: output_text,
  calls: output.flatMap((item) =>
    item.type === 'function_call' ? [{ id: item.call_id, name: item.name, args: JSON.parse(item.arguments) }] : [],
  ),
  usage: [usage?.input_tokens, usage?.output_tokens, usage?.input_tokens_details.cached_tokens],
});
const ofMessage = ({ content, usage }: Anthropic.Message) => ({
  text: content.map((block) => (block.type === 'text' ? block.text : '')).join(''),
  calls: content.flatMap((block) =>
    block.type === 'tool_use' ? [{ id: block.id, name: block.name, args: block.input }] : [],
  ),
  usage: [
    usage.input_tokens + (usage.cache_read_input_tokens ?? 0),
    usage.output_tokens,
    usage.cache_read_input_tokens,
  ],
});

for (const upstream of ['openai', 'anthropic'] as const) {
  test(`the official clients read an answer that was translated from ${upstream}'s wire`, async (t) => {
    await using at = await setUp(upstream, whole);
    const chat = await at.openai.chat.completions.create(chatBody);
    t.deepEqual(ofChat(chat), expected);
    t.is(chat.choices[0]?.finish_reason, 'tool_calls');
    const response = await at.openai.responses.create(responsesBody);
    t.deepEqual(ofResponse(response), expected);
    t.is(response.status, 'completed');
    const message = await at.claude.messages.create(messagesBody);
    t.deepEqual(ofMessage(message), expected);
    t.is(message.stop_reason, 'tool_use');
    for (const request of at.fake.requests) t.like(request, { system: 'Be short.', model: 'target', stream: false });
  });

  test(`the official clients put together a stream that was translated from ${upstream}'s wire`, async (t) => {
    await using at = await setUp(upstream, said);
    const chat = at.openai.chat.completions.stream({ ...chatBody, stream_options: { include_usage: true } });
    const texts: string[] = [];
    chat.on('content', (delta) => texts.push(delta));
    t.deepEqual(ofChat(await chat.finalChatCompletion()), expected);
    t.true(texts.length > 1, 'it came in pieces');
    const response = await at.openai.responses.stream(responsesBody).finalResponse();
    t.deepEqual(ofResponse(response), expected);
    t.is(response.status, 'completed');
    const message = await at.claude.messages.stream(messagesBody).finalMessage();
    t.deepEqual(ofMessage(message), expected);
    t.is(message.stop_reason, 'tool_use');
  });

  for (const fault of ['cut', 'short', 'malformed', 'error-event'] as const) {
    test(`a stream of ${upstream}'s that ends by ${fault} is an error to every official client`, async (t) => {
      await using at = await setUp(upstream, { fault });
      const told = /cut off|cannot be read|Overloaded/;
      await t.throwsAsync(at.openai.chat.completions.stream(chatBody).finalChatCompletion(), {
        instanceOf: OpenAI.APIError,
        message: told,
      });
      await t.throwsAsync(at.openai.responses.stream(responsesBody).finalResponse(), { message: told });
      await t.throwsAsync(at.claude.messages.stream(messagesBody).finalMessage(), {
        instanceOf: Anthropic.APIError,
        message: told,
      });
    });
  }

  test(`a client's second turn reaches ${upstream}'s wire with the calls and results of the first`, async (t) => {
    await using at = await setUp(upstream, whole);
    const first = await at.openai.chat.completions.create(chatBody);
    const message = first.choices[0]?.message;
    if (!message) return t.fail('there is no message');
    const results = (message.tool_calls ?? []).map(({ id }) => ({
      role: 'tool' as const,
      tool_call_id: id,
      content: `of ${id}`,
    }));
    await at.openai.chat.completions.create({ ...chatBody, messages: [...chatBody.messages, message, ...results] });
    const response = await at.openai.responses.create(responsesBody);
    const outputs = response.output.flatMap((item) =>
      item.type === 'function_call'
        ? [{ type: 'function_call_output' as const, call_id: item.call_id, output: `of ${item.call_id}` }]
        : [],
    );
    await at.openai.responses.create({
      ...responsesBody,
      input: [{ role: 'user', content: 'Look.' }, ...response.output.filter(isInput), ...outputs],
    });
    const answer = await at.claude.messages.create(messagesBody);
    const blocks = answer.content.flatMap((block) =>
      block.type === 'tool_use'
        ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: `of ${block.id}` }]
        : [],
    );
    await at.claude.messages.create({
      ...messagesBody,
      messages: [
        ...messagesBody.messages,
        { role: 'assistant', content: answer.content },
        { role: 'user', content: blocks },
      ],
    });
    const seconds = at.fake.requests.filter(({ turns }) => turns === 1);
    t.is(seconds.length, 3);
    for (const { messages } of seconds) {
      t.deepEqual(
        messages.map(({ role, text, tools }) => [role, text, tools]),
        [
          ['user', 'Look.', []],
          ['assistant', 'I look — twice. 🔎', ['look', 'look', 'rest']],
          ['tool', 'of call_a', []],
          ['tool', 'of call_b', []],
          ['tool', 'of call_c', []],
        ],
      );
    }
  });
}

/** What a response gave that may be given back to it. */
const isInput = (item: OpenAI.Responses.ResponseOutputItem) => item.type === 'message' || item.type === 'function_call';

test('what cannot be translated is the error that each official client knows, with the field in it', async (t) => {
  await using at = await setUp('anthropic', said);
  const chat = await t.throwsAsync(at.openai.chat.completions.create({ ...chatBody, n: 2 }), {
    instanceOf: OpenAI.BadRequestError,
  });
  t.is(chat?.param, 'n');
  const response = await t.throwsAsync(
    at.openai.responses.create({ ...responsesBody, previous_response_id: 'resp_1' }),
    {
      instanceOf: OpenAI.BadRequestError,
    },
  );
  t.is(response?.param, 'previous_response_id');
  await t.throwsAsync(at.claude.messages.create({ ...messagesBody, container: { skills: [] } }), {
    instanceOf: Anthropic.BadRequestError,
    message: /container: has no counterpart/,
  });
  t.is(at.fake.requests.length, 0);
});
