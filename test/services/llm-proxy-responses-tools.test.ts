import test from 'ava';
import type OpenAI from 'openai';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';

const model = 'claude-sonnet-5-5';
const parameters = { type: 'object', properties: { path: { type: 'string' } } };
const long = 'a.namespace.with-a-very-long-name.of-many-letters.indeed';

/** What Codex 0.169 sends (seen 2026-11-30): functions, namespaces of them, a search of OpenAI's own, a tool that takes a free text. */
const codex = {
  model,
  instructions: 'You code.',
  tools: [
    { type: 'function', name: 'exec_command', description: 'Runs.', strict: false, parameters },
    {
      type: 'namespace',
      name: 'agents',
      description: 'Others.',
      tools: [
        { type: 'function', name: 'spawn', strict: false, parameters, defer_loading: true },
        { type: 'custom', name: 'note', description: 'Notes.' },
      ],
    },
    { type: 'namespace', name: long, description: '', tools: [{ type: 'function', name: 'one', parameters }] },
    { type: 'web_search', external_web_access: true },
  ],
  tool_choice: 'auto',
  parallel_tool_calls: true,
  reasoning: { effort: 'low', summary: 'auto', context: 'all_turns' },
  store: false,
  include: ['reasoning.encrypted_content'],
  prompt_cache_key: 'k',
  client_metadata: { thread_id: 't', turn_id: 'u' },
  text: { verbosity: 'low' },
};
const patch = {
  type: 'custom',
  name: 'apply_patch',
  description: 'Patches.',
  format: { type: 'grammar', syntax: 'lark', definition: 'start: "x"' },
};
const history = [
  {
    type: 'additional_tools',
    role: 'developer',
    tools: [patch, { type: 'function', name: 'exec_command', parameters }],
  },
  { role: 'user', content: [{ type: 'input_text', text: 'Go.' }] },
  { type: 'web_search_call', id: 'ws_1', status: 'completed', action: { type: 'search', query: 'x' } },
  { type: 'custom_tool_call', call_id: 'c1', name: 'apply_patch', input: '*** "Begin"\n' },
  { type: 'function_call', call_id: 'c2', name: 'spawn', namespace: 'agents', arguments: '{"path":"a"}' },
  { type: 'custom_tool_call_output', call_id: 'c1', output: 'patched' },
  { type: 'function_call_output', call_id: 'c2', output: [{ type: 'input_text', text: 'spawned' }] },
];

const input = '*** Begin Patch\n"ü"\n';
const toolCalls = [
  { tool: 'apply_patch', args: { input }, callId: 'n1' },
  { tool: 'agents__spawn', args: { path: 'b' }, callId: 'n2' },
  { tool: 'agents__note', args: { input: 'n' }, callId: 'n3' },
  { tool: 'exec_command', args: { path: 'c' }, callId: 'n4' },
];
const expected = [
  { type: 'custom_tool_call', call_id: 'n1', name: 'apply_patch', input },
  { type: 'function_call', call_id: 'n2', name: 'spawn', namespace: 'agents', arguments: '{"path":"b"}' },
  { type: 'custom_tool_call', call_id: 'n3', name: 'note', namespace: 'agents', input: 'n' },
  { type: 'function_call', call_id: 'n4', name: 'exec_command', arguments: '{"path":"c"}' },
];

const withoutIds = (items: readonly OpenAI.Responses.ResponseOutputItem[]) =>
  items.flatMap((item) => {
    if (item.type === 'message') return [];
    const { id: _, status: _status, ...rest } = item as { id?: string; status?: string };
    return [rest];
  });

test('what Codex sends reaches a Claude as plain functions, and its calls come back as Codex knows them', async (t) => {
  await using proxy = await startHttpProxy('anthropic', { script: () => ({ text: 'So:', toolCalls }) });
  const body = { ...codex, input: history } as unknown as OpenAI.Responses.ResponseCreateParamsNonStreaming;
  const whole = await proxy.openai.responses.create(body);
  t.deepEqual(withoutIds(whole.output), expected as never);
  t.is(whole.status, 'completed');

  const streamed = await proxy.openai.responses.create({ ...body, stream: true });
  const events: OpenAI.Responses.ResponseStreamEvent[] = [];
  for await (const event of streamed) events.push(event);
  const done = events.flatMap((event) => (event.type === 'response.output_item.done' ? [event.item] : []));
  t.deepEqual(withoutIds(done), expected as never);
  const told = events.flatMap((event) => (event.type === 'response.custom_tool_call_input.done' ? [event.input] : []));
  t.deepEqual(told, [input, 'n']);
  const pieces = events.flatMap((event) =>
    event.type === 'response.custom_tool_call_input.delta' ? [event.delta] : [],
  );
  t.is(pieces.join(''), `${input}n`);
  const last = events.at(-1);
  t.deepEqual(last?.type === 'response.completed' ? withoutIds(last.response.output) : [], expected as never);

  t.is(proxy.fake.requests.length, 2);
  for (const request of proxy.fake.requests) {
    const [exec, spawn, note, one, patcher, ...others] = Object.keys(request.tools);
    t.deepEqual([exec, spawn, note, patcher], ['exec_command', 'agents__spawn', 'agents__note', 'apply_patch']);
    t.regex(one ?? '', /^a_namespace[a-zA-Z0-9_-]{1,53}$/);
    t.deepEqual(others, []);
    t.deepEqual(request.tools.apply_patch, ['input']);
    t.true(JSON.stringify(request.body.tools).includes('lark grammar'));
    t.like(request.body.output_config, { effort: 'low' });
    t.like(
      request.body.messages,
      [
        {},
        {
          content: [
            { type: 'tool_use', name: 'apply_patch', input: { input: '*** "Begin"\n' } },
            { type: 'tool_use', name: 'agents__spawn', input: { path: 'a' } },
          ],
        },
        {
          content: [
            { tool_use_id: 'c1', content: 'patched' },
            { tool_use_id: 'c2', content: 'spawned' },
          ],
        },
      ].map((turn, at) => (at === 0 ? { role: 'user' } : turn)),
    );
  }
});

test('a custom tool is asked for by its name, and what a model wrote for it is told whatever it is', async (t) => {
  const raw = 'no JSON of an input';
  await using proxy = await startHttpProxy('anthropic', {
    script: () => ({ toolCalls: [{ tool: 'apply_patch', args: { text: raw }, callId: 'n1' }] }),
  });
  const answer = await proxy.post('/v1/responses', {
    model: 'claude-sonnet-4-6',
    input: 'Go.',
    tools: [patch],
    tool_choice: { type: 'custom', name: 'apply_patch' },
  });
  t.like(await answer.json(), {
    output: [{ type: 'custom_tool_call', name: 'apply_patch', input: `{"text":"${raw}"}` }],
    tools: [{ type: 'custom', name: 'apply_patch' }],
  });
  t.is(proxy.fake.requests[0]?.forced, 'apply_patch');
});

test('custom tools of a chat reach a Claude as functions of one text, and its calls come back as theirs', async (t) => {
  await using proxy = await startHttpProxy('anthropic', {
    script: () => ({ text: 'So:', toolCalls: toolCalls.filter(({ tool }) => !tool.includes('__')) }),
  });
  const grammar = { syntax: 'lark' as const, definition: 'start: "x"' };
  const body = {
    model: 'claude-sonnet-4-6',
    messages: [
      { role: 'user' as const, content: 'Go.' },
      {
        role: 'assistant' as const,
        tool_calls: [{ id: 'c1', type: 'custom' as const, custom: { name: 'apply_patch', input: '"x"' } }],
      },
      { role: 'tool' as const, tool_call_id: 'c1', content: 'patched' },
    ],
    tools: [
      { type: 'custom' as const, custom: { name: 'apply_patch', format: { type: 'grammar' as const, grammar } } },
      { type: 'function' as const, function: { name: 'exec_command', parameters } },
    ],
    tool_choice: { type: 'custom' as const, custom: { name: 'apply_patch' } },
  };
  const calls = [
    { id: 'n1', type: 'custom', custom: { name: 'apply_patch', input } },
    { id: 'n4', type: 'function', function: { name: 'exec_command', arguments: '{"path":"c"}' } },
  ];
  const whole = await proxy.openai.chat.completions.create(body);
  t.deepEqual(whole.choices[0]?.message.tool_calls, calls as never);
  t.is(whole.choices[0]?.finish_reason, 'tool_calls');

  const told: { type?: string | undefined; name: string; said: string }[] = [];
  for await (const { choices } of await proxy.openai.chat.completions.create({ ...body, stream: true })) {
    for (const call of choices[0]?.delta.tool_calls ?? []) {
      const { type, name, said } = told[call.index] ?? { type: call.type, name: '', said: '' };
      told[call.index] = {
        type,
        name: name + (call.custom?.name ?? call.function?.name ?? ''),
        said: said + (call.custom?.input ?? call.function?.arguments ?? ''),
      };
    }
  }
  t.deepEqual(told, [
    { type: 'custom', name: 'apply_patch', said: input },
    { type: 'function', name: 'exec_command', said: '{"path":"c"}' },
  ]);
  t.is(proxy.fake.requests[0]?.forced, 'apply_patch');
  t.like(proxy.fake.requests[0]?.body.messages, [
    { role: 'user' },
    { content: [{ type: 'tool_use', id: 'c1', name: 'apply_patch', input: { input: '"x"' } }] },
  ]);
});
