import test from 'ava';
import {
  chatBody,
  messagesBody,
  model,
  responsesBody,
  said,
  shortChat,
  shortMessages,
  startHttpProxy,
  usage,
} from '#test/helpers/http-proxy.ts';
import { keyOfTests, wires } from '#test/helpers/proxy.ts';

for (const wire of wires) {
  test(`OpenAI's client has whole answers and streams with tools from ${wire}, and the ledger has them`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script: () => said });
    const whole = await proxy.openai.chat.completions.create(chatBody);
    const stream = proxy.openai.chat.completions.stream({ ...chatBody, stream_options: { include_usage: true } });
    for (const completion of [whole, await stream.finalChatCompletion()]) {
      t.is(completion.choices[0]?.message.content, 'I look — twice. 🔎');
      t.is(completion.choices[0]?.finish_reason, 'tool_calls');
      const call = completion.choices[0]?.message.tool_calls?.[0];
      t.deepEqual(call?.type === 'function' && JSON.parse(call.function.arguments), { at: 'ü' });
      t.is(completion.usage?.prompt_tokens, 30);
      t.is(completion.usage?.completion_tokens, 9);
    }
    for (const { data } of await proxy.calls(2)) {
      t.like(data, { key: proxy.key.id, agentId: null, provider: wire, model, outcome: 'ok', cache: 'bypass' });
      t.deepEqual(data.usage, usage);
    }
    const header = proxy.fake.requests[0]?.headers;
    t.is(
      wire === 'openai' ? header?.authorization : header?.['x-api-key'],
      wire === 'openai' ? `Bearer ${keyOfTests}` : keyOfTests,
    );
    t.false(JSON.stringify(header).includes(proxy.key.secret), "the client's key stays here");
    t.is(await proxy.metric(`llm_requests_total{provider="${wire}",model="${model}",outcome="ok"`), 2);
  });

  test(`Anthropic's client has whole answers and streams with tools from ${wire}, and the ledger has them`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script: () => said });
    const whole = await proxy.claude.messages.create(messagesBody);
    for (const message of [whole, await proxy.claude.messages.stream(messagesBody).finalMessage()]) {
      t.like(message.content[0], { type: 'text', text: 'I look — twice. 🔎' });
      t.like(message.content[1], { type: 'tool_use', name: 'look', input: { at: 'ü' } });
      t.is(message.stop_reason, 'tool_use');
      t.is(message.usage.output_tokens, 9);
    }
    for (const { data } of await proxy.calls(2)) {
      t.like(data, { key: proxy.key.id, provider: wire, outcome: 'ok' });
      t.deepEqual(data.usage, usage);
    }
  });
}

test('a stream shows its usage only to a client that asked for it, and counts it for all', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => said });
  for (const options of [undefined, { include_usage: false }]) {
    const text = await (
      await proxy.post('/v1/chat/completions', { ...shortChat, stream: true, stream_options: options, newer_field: 1 })
    ).text();
    t.false(text.includes('"usage":{'));
    t.true(text.endsWith('data: [DONE]\n\n'));
  }
  t.deepEqual(
    proxy.fake.requests.map(({ body }) => body.stream_options),
    [{ include_usage: true }, { include_usage: true }],
  );
  t.is(proxy.fake.requests[0]?.body.newer_field, 1);
  t.deepEqual(
    (await proxy.calls(2)).map(({ data }) => data.usage),
    [usage, usage],
  );
});

test('the demo provider serves all three wires', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => said, environment: { LLM_PROVIDER: 'demo' } });
  const body = { model: 'demo', messages: shortChat.messages };
  const chat = await proxy.openai.chat.completions.create(body);
  t.truthy(chat.choices[0]?.message.content);
  const streamed = await proxy.openai.chat.completions.stream(body).finalChatCompletion();
  t.is(streamed.choices[0]?.message.content, chat.choices[0]?.message.content);
  const response = await proxy.openai.responses.create({ model: 'demo', input: 'Hi', store: false });
  t.is(response.output_text, chat.choices[0]?.message.content ?? '');
  const message = await proxy.claude.messages
    .stream({ ...shortMessages, model: 'demo', max_tokens: 500 })
    .finalMessage();
  t.is(message.content[0]?.type === 'text' && message.content[0].text, chat.choices[0]?.message.content ?? '');
  t.is((await proxy.post('/v1/embeddings', { model: 'demo', input: 'x' })).status, 400);
  t.deepEqual([...new Set((await proxy.calls(4)).map(({ data }) => data.provider))], ['demo']);
});

test("OpenAI's responses reach Anthropic, whole and streamed", async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script: () => said });
  const whole = await proxy.openai.responses.create({ ...responsesBody, store: false });
  t.is(whole.output_text, 'I look — twice. 🔎');
  const streamed = await proxy.openai.responses.stream({ ...responsesBody, store: false }).finalResponse();
  t.is(streamed.output_text, 'I look — twice. 🔎');
  t.is(streamed.output.find(({ type }) => type === 'function_call')?.type, 'function_call');
  t.deepEqual(
    (await proxy.calls(2)).map(({ data }) => data.usage),
    [usage, usage],
  );
});

test('a model goes to the provider that has it; the models of a key are listed', async (t) => {
  await using proxy = await startHttpProxy('openai', {
    script: () => said,
    terms: { models: ['claude-*', 'gpt-4.1'] },
  });
  await proxy.openai.chat.completions.create({ ...shortChat, model: 'claude-haiku-4-5' });
  await proxy.claude.messages.create({ ...shortMessages, model: 'gpt-4.1' });
  await proxy.claude.messages.create({ ...shortMessages, model: 'claude-next' });
  t.deepEqual(
    proxy.fake.requests.map(({ wire }) => wire),
    ['anthropic', 'openai', 'anthropic'],
  );
  t.deepEqual(
    (await proxy.calls(3)).map(({ data }) => data.costUsd !== null),
    [true, true, false],
  );
  const ids = (await proxy.openai.models.list()).data.map(({ id }) => id);
  t.true(ids.includes('claude-haiku-4-5') && ids.includes('gpt-4.1'));
  t.false(ids.includes('gpt-4o-mini'));
  t.true((await proxy.claude.models.list()).data.some(({ id }) => id === 'claude-haiku-4-5'));
  t.deepEqual(await (await fetch(`${proxy.url}/health`)).json(), { status: 'ok' });
});
