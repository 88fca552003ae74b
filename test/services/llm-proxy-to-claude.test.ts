import test from 'ava';
import { z } from 'zod';
import type { FakeRequest } from '#test/helpers/fake-provider.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';

const chat = '/v1/chat/completions';
const responses = '/v1/responses';
const tool = { name: 'go', parameters: { type: 'object', properties: { at: { type: 'string' } } } };
const script = () => ({ text: 'Yes.' });
const Turns = z.array(z.object({ role: z.string(), content: z.array(z.looseObject({ type: z.string() })) }));

type Proxy = Awaited<ReturnType<typeof startHttpProxy>>;

/** What reaches the provider of a request that it takes: the fake refuses what Anthropic documents as refused. */
async function sent(proxy: Proxy, path: string, body: object): Promise<FakeRequest['body']> {
  const answer = await proxy.post(path, body);
  if (answer.status !== 200) throw new Error(await answer.text());
  await answer.text();
  return proxy.fake.requests.at(-1)?.body ?? {};
}

const turnsOf = (body: Record<string, unknown>) =>
  Turns.parse(body.messages).map(({ role, content }) => [role, ...content.map(({ type, text }) => text ?? type)]);

const user = (content: string) => ({ role: 'user', content });
const system = (content: string) => ({ role: 'system', content });
const said = (content: string) => ({ role: 'assistant', content });
const calls = (...ids: string[]) => ({
  role: 'assistant',
  tool_calls: ids.map((id) => ({ id, type: 'function', function: { name: 'go', arguments: '{}' } })),
});
const result = (id: string) => ({ role: 'tool', tool_call_id: id, content: `of ${id}` });

const placed: [string, object[], { modern: unknown[]; older: unknown[] }][] = [
  [
    'between two turns of the user',
    [user('a'), system('S'), user('b')],
    {
      modern: [
        ['user', 'a', 'b'],
        ['system', 'S'],
      ],
      older: [['user', 'a', '<system>\nS\n</system>', 'b']],
    },
  ],
  [
    'behind an answer',
    [user('a'), said('b'), system('S'), user('c')],
    {
      modern: [
        ['user', 'a'],
        ['assistant', 'b'],
        ['user', 'c'],
        ['system', 'S'],
      ],
      older: [
        ['user', 'a'],
        ['assistant', 'b'],
        ['user', '<system>\nS\n</system>', 'c'],
      ],
    },
  ],
  [
    'between a call and its result, and between two results',
    [user('a'), calls('c1', 'c2'), system('S'), result('c1'), system('T'), result('c2')],
    {
      modern: [
        ['user', 'a'],
        ['assistant', 'tool_use', 'tool_use'],
        ['user', 'tool_result', 'tool_result'],
        ['system', 'S', 'T'],
      ],
      older: [
        ['user', 'a'],
        ['assistant', 'tool_use', 'tool_use'],
        ['user', 'tool_result', 'tool_result', '<system>\nS\n</system>', '<system>\nT\n</system>'],
      ],
    },
  ],
  [
    'two in a row, before the next answer',
    [user('a'), system('S'), { ...system('T'), role: 'developer' }, said('b'), user('c')],
    {
      modern: [
        ['user', 'a'],
        ['system', 'S', 'T'],
        ['assistant', 'b'],
        ['user', 'c'],
      ],
      older: [
        ['user', 'a', '<system>\nS\n</system>', '<system>\nT\n</system>'],
        ['assistant', 'b'],
        ['user', 'c'],
      ],
    },
  ],
  [
    'last of all',
    [user('a'), said('b'), system('S')],
    {
      modern: [
        ['user', 'a'],
        ['assistant', 'b'],
        ['user', '<system>\nS\n</system>'],
      ],
      older: [
        ['user', 'a'],
        ['assistant', 'b'],
        ['user', '<system>\nS\n</system>'],
      ],
    },
  ],
];

/** The same conversation as items of the responses API. */
const itemsOf = (messages: readonly object[]) =>
  messages.flatMap((message): object[] => {
    if ('tool_calls' in message && Array.isArray(message.tool_calls))
      return message.tool_calls.map(({ id, function: called }) => ({ type: 'function_call', call_id: id, ...called }));
    if ('tool_call_id' in message && 'content' in message)
      return [{ type: 'function_call_output', call_id: message.tool_call_id, output: message.content }];
    return [message];
  });

test('what the system says in the middle stands where a Claude takes it, or goes as words of the user', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  for (const [place, messages, { modern, older }] of placed) {
    for (const [model, turns] of [
      ['claude-opus-5-5', modern],
      ['claude-sonnet-5-5', modern],
      ['claude-sonnet-4-6', older],
      ['claude-haiku-4-5', older],
      ['claude-unknown', older],
    ] as const) {
      t.deepEqual(turnsOf(await sent(proxy, chat, { model, messages })), turns, `${model}, ${place}`);
      const input = itemsOf(messages);
      t.deepEqual(turnsOf(await sent(proxy, responses, { model, input })), turns, `${model}, ${place}, responses`);
      t.deepEqual(turnsOf(await sent(proxy, responses, { model, input, stream: true })), turns, `${model}, streamed`);
    }
  }
});

test('parallel calls that were said with a system message between them keep their results', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const input = itemsOf([
    user('a'),
    calls('c1'),
    system('S'),
    calls('c2'),
    result('c1'),
    result('c2'),
    said('b'),
    user('c'),
  ]);
  for (const model of ['claude-opus-5-5', 'claude-haiku-4-5']) {
    const turns = turnsOf(await sent(proxy, responses, { model, input }));
    t.deepEqual(turns.slice(0, 2), [
      ['user', 'a'],
      ['assistant', 'tool_use', 'tool_use'],
    ]);
    t.deepEqual(turns[2]?.slice(0, 3), ['user', 'tool_result', 'tool_result']);
  }
});

test('of temperature and top_p a Claude gets the one, and none where it takes none', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const sampling = (body: Record<string, unknown>) => [body.temperature, body.top_p, body.top_k];
  for (const path of [chat, responses]) {
    const ask = async (model: string, fields: object) =>
      sampling(
        await sent(proxy, path, { model, ...(path === chat ? { messages: [user('a')] } : { input: 'a' }), ...fields }),
      );
    for (const model of ['claude-sonnet-4-6', 'claude-haiku-4-5', 'claude-unknown']) {
      t.deepEqual(await ask(model, { temperature: 0.2, top_p: 0.9 }), [0.2, undefined, undefined]);
      t.deepEqual(await ask(model, { temperature: 1, top_p: 1 }), [1, undefined, undefined]);
      t.deepEqual(await ask(model, { top_p: 0.9 }), [undefined, 0.9, undefined]);
    }
    for (const model of ['claude-opus-5-5', 'claude-sonnet-5-5'])
      t.deepEqual(await ask(model, { temperature: 0.2, top_p: 0.9 }), [undefined, undefined, undefined]);
  }
});

test('an effort goes to a Claude as it takes it, and so does the wish that it does not think', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const ask = async (model: string, effort: string) => {
    const whole = await sent(proxy, chat, { model, messages: [user('a')], reasoning_effort: effort });
    const other = await sent(proxy, responses, { model, input: 'a', reasoning: { effort } });
    t.deepEqual([whole.thinking, whole.output_config], [other.thinking, other.output_config]);
    return [whole.thinking, whole.output_config];
  };
  const none = [undefined, undefined];
  t.deepEqual(await ask('claude-opus-5-5', 'none'), none);
  t.deepEqual(await ask('claude-sonnet-5-5', 'none'), [{ type: 'between_tools' }, undefined]);
  t.deepEqual(await ask('claude-sonnet-4-6', 'none'), [{ type: 'disabled' }, undefined]);
  t.deepEqual(await ask('claude-haiku-4-5', 'none'), none);
  t.deepEqual(await ask('claude-haiku-4-5', 'low'), none);
  t.deepEqual(await ask('claude-opus-5-5', 'xhigh'), [undefined, { effort: 'xhigh' }]);
  t.deepEqual(await ask('claude-opus-5-5', 'minimal'), [undefined, { effort: 'low' }]);
  t.deepEqual(await ask('claude-sonnet-4-6', 'xhigh'), [undefined, { effort: 'high' }]);
  t.deepEqual(await ask('claude-sonnet-4-6', 'max'), [undefined, { effort: 'max' }]);
});

test('a schema is fitted to what a Claude holds to, and an open one that is no order is said in words', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const Sent = z.object({ output_config: z.object({ format: z.object({ schema: z.unknown() }) }) });
  const n = { type: 'integer', minimum: 1 };
  const schema = {
    type: 'object',
    properties: { n, list: { type: 'array', items: { type: 'object', properties: {} } } },
  };
  const ask = (path: string, given: object) =>
    path === chat
      ? { response_format: { type: 'json_schema', json_schema: { name: 'a', ...given } }, messages: [user('a')] }
      : { text: { format: { type: 'json_schema', name: 'a', ...given } }, input: 'a' };
  for (const path of [chat, responses]) {
    const body = await sent(proxy, path, { model: 'claude-haiku-4-5', ...ask(path, { schema, strict: true }) });
    t.deepEqual(Sent.parse(body).output_config.format.schema, {
      type: 'object',
      properties: {
        n: { type: 'integer', description: '{minimum: 1}' },
        list: { type: 'array', items: { type: 'object', properties: {}, additionalProperties: false } },
      },
      additionalProperties: false,
    });
    const named = { type: 'object', properties: { n }, additionalProperties: true };
    const loose = await sent(proxy, path, { model: 'claude-haiku-4-5', ...ask(path, { schema: named }) });
    t.like(loose, { output_config: { format: { schema: { additionalProperties: false } } } });
    const open = { type: 'object', additionalProperties: { type: 'number' } };
    const words = await sent(proxy, path, { model: 'claude-haiku-4-5', ...ask(path, { schema: open, strict: false }) });
    t.is(words.output_config, undefined);
    t.true(JSON.stringify(words.system).includes(JSON.stringify(JSON.stringify(open)).slice(1, -1)));
  }
  const strict = { type: 'function', function: { ...tool, strict: true, parameters: schema } };
  const body = await sent(proxy, chat, { model: 'claude-haiku-4-5', messages: [user('a')], tools: [strict] });
  t.like(body.tools, [{ strict: true, input_schema: { additionalProperties: false } }]);
});

test('what is translated for a Claude is kept in its prompt cache, as far as other calls begin alike', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const kept = { type: 'ephemeral' };
  const model = 'claude-sonnet-5-5';
  for (const [path, fields] of [
    [chat, { messages: [system('Be short.'), user('a')], tools: [{ type: 'function', function: tool }] }],
    [responses, { instructions: 'Be short.', input: 'a', tools: [{ type: 'function', ...tool }] }],
  ] as const) {
    const body = await sent(proxy, path, { model, ...fields });
    t.deepEqual(body.cache_control, kept);
    t.deepEqual(body.system, [{ type: 'text', text: 'Be short.', cache_control: kept }]);
  }
  const offered = await sent(proxy, responses, { model, input: 'a', tools: [{ type: 'function', ...tool }] });
  t.like(offered, { cache_control: kept, tools: [{ name: 'go', cache_control: kept }] });
});

test("a client's own marks for the prompt cache go to a Claude in their places, and no others with them", async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const hour = { type: 'ephemeral', ttl: '1h' };
  const kept = { type: 'ephemeral' };
  const body = await sent(proxy, chat, {
    model: 'claude-sonnet-5-5',
    messages: [
      { role: 'system', content: [{ type: 'text', text: 'Be short.', cache_control: hour }] },
      { ...user('a'), cache_control: kept },
      calls('c1'),
      { ...result('c1'), cache_control: kept },
    ],
    tools: [{ type: 'function', function: tool, cache_control: hour }],
  });
  t.is(body.cache_control, undefined);
  t.like(body.tools, [{ cache_control: hour }]);
  t.deepEqual(body.system, [{ type: 'text', text: 'Be short.', cache_control: hour }]);
  t.like(body.messages, [
    { content: [{ text: 'a', cache_control: kept }] },
    { role: 'assistant' },
    { content: [{ type: 'tool_result', cache_control: kept }] },
  ]);
  const many = Array.from({ length: 7 }, (_, at) => ({ type: 'text', text: `${at}`, cache_control: kept }));
  const cut = await sent(proxy, chat, { model: 'claude-sonnet-5-5', messages: [{ role: 'user', content: many }] });
  t.is(JSON.stringify(cut).split('cache_control').length - 1, 4);
  const top = await sent(proxy, chat, { model: 'claude-sonnet-5-5', messages: [user('a')], cache_control: hour });
  t.deepEqual(top.cache_control, hour);
});

test('ids that Anthropic would refuse stay different, bounded and with their results', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const long = 'functions.look:'.padEnd(200, '.');
  const ids = ['a.b', 'a_b', `${long}1`, `${long}2`, 'x'.repeat(64), `${'x'.repeat(64)}y`, 'ünï/1|2'];
  const body = await sent(proxy, chat, {
    model: 'claude-haiku-4-5',
    messages: [user('a'), calls(...ids), ...ids.map(result)],
  });
  const [, called, answered] = Turns.parse(body.messages);
  const written = called?.content.map(({ id }) => String(id)) ?? [];
  t.is(new Set(written).size, ids.length);
  t.true(written.every((id) => /^[a-zA-Z0-9_-]{1,64}$/.test(id)));
  t.deepEqual(
    answered?.content.map(({ tool_use_id }) => tool_use_id),
    written,
  );
  t.deepEqual(
    answered?.content.map(({ content }) => content),
    ids.map((id) => `of ${id}`),
  );
  t.deepEqual([written[1], written[4]], ['a_b', 'x'.repeat(64)]);
});

test('pictures of any spelling, names, sources and repeated fields of a history reach a Claude', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script });
  const model = 'claude-haiku-4-5';
  for (const [written, type] of [
    ['image/jpg', 'image/jpeg'],
    ['image/PNG', 'image/png'],
    ['IMAGE/JPEG', 'image/jpeg'],
    ['image/webp;charset=utf-8', 'image/webp'],
  ]) {
    const url = `data:${written};base64,AAAA`;
    const messages = [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }];
    const source = { type: 'base64', media_type: type, data: 'AAAA' };
    t.like(await sent(proxy, chat, { model, messages }), { messages: [{ content: [{ type: 'image', source }] }] });
    const input = [{ role: 'user', content: [{ type: 'input_image', image_url: url }] }];
    t.like(await sent(proxy, responses, { model, input }), { messages: [{ content: [{ type: 'image', source }] }] });
  }
  const annotations = [{ type: 'url_citation', url_citation: { url: 'https://example.org', title: 'a' } }];
  const part = { type: 'text', text: 'b', role: 'assistant', refusal: null, tool_calls: [] };
  const body = await sent(proxy, chat, {
    model,
    messages: [
      { ...user('a'), name: 'Ann' },
      { role: 'assistant', content: [part], annotations, name: 'bot' },
      { ...user('c'), name: 'Bob' },
    ],
    verbosity: 'low',
  });
  t.deepEqual(turnsOf(body), [
    ['user', 'a'],
    ['assistant', 'b'],
    ['user', 'c'],
  ]);
});

test("a client that names no limit gets what the Claude can, held to the operator's own limit", async (t) => {
  const most = {
    'claude-opus-5-5': 128_000,
    'claude-sonnet-4-6': 128_000,
    'claude-haiku-4-5': 64_000,
    'claude-x': 8_192,
  };
  await using proxy = await startHttpProxy('anthropic', { script });
  await using held = await startHttpProxy('anthropic', { script, environment: { LLM_MAX_OUTPUT_TOKENS: '20000' } });
  for (const [model, tokens] of Object.entries(most)) {
    for (const [path, body] of [
      [chat, { model, messages: [user('a')] }],
      [responses, { model, input: 'a' }],
    ] as const) {
      t.is((await sent(proxy, path, body)).max_tokens, tokens);
      t.is((await sent(held, path, body)).max_tokens, tokens === 8_192 ? 20_000 : Math.min(tokens, 20_000));
    }
  }
  t.is(
    (await sent(proxy, chat, { model: 'claude-opus-5-5', messages: [user('a')], max_tokens: 60_000 })).max_tokens,
    60_000,
  );
});
