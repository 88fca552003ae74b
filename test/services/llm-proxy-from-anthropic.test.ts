import type Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import test from 'ava';
import { z } from 'zod';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { refusalOfOpenAi } from '#test/helpers/openai-rules.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

type Sent = { model: string; stream?: boolean; messages: { role: string; reasoning_content?: string }[] } & Record<
  string,
  unknown
>;
type Said = Record<string, unknown>;

const usage = { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 };
const head = { id: 'chatcmpl-1', created: 1 };

/** An OpenAI that refuses what it documents as refused, and whatever `refuse` does, and else says what the script says, in pieces where asked. */
async function startOpenAi(
  script: (sent: Sent) => Said,
  refuse: (sent: Sent) => string | undefined = () => undefined,
  environment: Record<string, string> = {},
) {
  const requests: Sent[] = [];
  const raw = await startRaw((_, body, response) => {
    const sent: Sent = JSON.parse(body);
    requests.push(sent);
    const refusal = refusalOfOpenAi(sent) ?? refuse(sent);
    if (refusal) {
      const error = { message: refusal, type: 'invalid_request_error', param: null, code: null };
      return void response.writeHead(400, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
    }
    const message = { role: 'assistant', ...script(sent) };
    const finish_reason = 'tool_calls' in message ? 'tool_calls' : 'stop';
    const whole = { ...head, model: sent.model, usage };
    if (!sent.stream) {
      response.writeHead(200, { 'content-type': 'application/json' });
      return void response.end(JSON.stringify({ ...whole, choices: [{ index: 0, finish_reason, message }] }));
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const [name, value] of Object.entries(message)) {
      const pieces = typeof value === 'string' && name !== 'role' ? [value.slice(0, 3), value.slice(3)] : [value];
      for (const piece of pieces) {
        const delta = Array.isArray(piece)
          ? { tool_calls: piece.map((call, index) => ({ index, ...call })) }
          : { [name]: piece };
        response.write(
          `data: ${JSON.stringify({ ...head, model: sent.model, choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`,
        );
      }
    }
    response.write(`data: ${JSON.stringify({ ...whole, choices: [{ index: 0, delta: {}, finish_reason }] })}\n\n`);
    response.end('data: [DONE]\n\n');
  });
  const proxy = await startHttpProxy('openai', {
    script: () => ({}),
    environment: { ...raw.environment, ...environment },
  });
  return {
    ...proxy,
    requests,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await raw[Symbol.asyncDispose]();
    },
  };
}

const calls = (name: string, args: object, id = 'call_1') => ({
  content: null,
  tool_calls: [{ id, type: 'function', function: { name, arguments: JSON.stringify(args) } }],
});
const isAnswered = ({ messages }: Sent) => messages.some(({ role }) => role === 'tool');
const look = betaZodTool({
  name: 'look',
  description: 'Looks.',
  inputSchema: z.object({ at: z.string(), near: z.string().optional() }),
  run: ({ at }) => `seen ${at}`,
});

for (const stream of [false, true])
  test(`Anthropic's tool runner comes to its end on another provider's model, ${stream ? 'streamed' : 'whole'}`, async (t) => {
    await using at = await startOpenAi((sent) =>
      isAnswered(sent) ? { content: 'Done.' } : calls('look', { at: 'a' }),
    );
    const runner = at.claude.beta.messages.toolRunner({
      ...{ model: 'gpt-6.1-terra', max_tokens: 100, stream },
      messages: [{ role: 'user', content: 'Look.' }],
      tools: [look],
    });
    const last = await runner.runUntilDone();
    t.like(last.content.at(-1), { type: 'text', text: 'Done.' });
    t.is(at.requests.length, 2);
    t.like(at.requests[1]?.messages.at(-1), { role: 'tool', content: 'seen a' });
  });

test("Anthropic's tool runner comes to its end on a Claude, whose threads are no client's here", async (t) => {
  const bodies: Record<string, unknown>[] = [];
  await using raw = await startRaw((_, body, response) => {
    const sent = JSON.parse(body);
    bodies.push(sent);
    const isDone = sent.messages.length > 1;
    const call = { type: 'tool_use', id: 'toolu_1', name: 'look', input: { at: 'a' } };
    const content = [isDone ? { type: 'text', text: 'Done.' } : call];
    const usage = { input_tokens: 1, output_tokens: 1 };
    const message = {
      id: `msg_${bodies.length}`,
      type: 'message',
      role: 'assistant',
      model: sent.model,
      content,
      usage,
    };
    const whole = { ...message, stop_reason: isDone ? 'end_turn' : 'tool_use', stop_sequence: null };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(whole));
  });
  await using proxy = await startHttpProxy('anthropic', { script: () => ({}), environment: raw.environment });
  const runner = proxy.claude.beta.messages.toolRunner({
    ...{ model: 'claude-sonnet-4-6', max_tokens: 100, tools: [look] },
    messages: [{ role: 'user', content: 'Look.' }],
  });
  t.like((await runner.runUntilDone()).content, [{ type: 'text', text: 'Done.' }]);
  t.deepEqual(
    bodies.map(({ thread }) => thread),
    [undefined, undefined],
  );
});

test('a thread is refused by field, its continuation too, before any model is asked', async (t) => {
  await using at = await startOpenAi(() => ({ content: 'x' }));
  for (const thread of [{ type: 'create' }, { type: 'continue', previous_message_id: 'msg_1' }])
    for (const model of ['gpt-6.1-terra', 'claude-opus-5-5']) {
      const body = { model, max_tokens: 9, thread, messages: [{ role: 'user', content: 'x' }] };
      const answer = await at.post('/v1/messages', body);
      t.is(answer.status, 400);
      t.like(await answer.json(), {
        error: { details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] } },
      });
    }
  t.is(at.requests.length, 0);
});

test('schemas with optional properties, thinking and efforts are taken by every kind of model', async (t) => {
  await using at = await startOpenAi(() => ({ content: '{"a":"x"}' }));
  const format = zodOutputFormat(z.object({ a: z.string(), b: z.string().optional() }));
  const thinkings = [
    { type: 'disabled' as const },
    { type: 'adaptive' as const },
    { type: 'enabled' as const, budget_tokens: 1_024 },
  ];
  for (const model of ['gpt-4.1', 'gpt-4o-mini', 'gpt-5.6-terra', 'gpt-6.1-terra'])
    for (const thinking of thinkings)
      for (const tools of [[], [{ name: 'look', input_schema: { type: 'object' as const } }]]) {
        const asked = {
          model,
          max_tokens: 2_048,
          thinking,
          tools,
          messages: [{ role: 'user' as const, content: 'x' }],
        };
        const effort = thinking.type === 'adaptive' ? { effort: 'xhigh' as const } : {};
        const { parsed_output } = await at.claude.messages.parse({ ...asked, output_config: { format, ...effort } });
        t.deepEqual(parsed_output, { a: 'x' });
      }
  const efforts = (model: string) =>
    at.requests.filter((sent) => sent.model === model).map((sent) => sent.reasoning_effort ?? null);
  t.deepEqual(efforts('gpt-4.1'), [null, null, null, null, null, null]);
  t.deepEqual(efforts('gpt-6.1-terra'), ['none', 'none', 'xhigh', 'none', 'medium', 'none']);
});

test('what Claude Code sends reaches an OpenAI model as it means it', async (t) => {
  await using at = await startOpenAi(() => ({ content: 'Yes.' }));
  const reminder = { type: 'text', text: 'A reminder.', cache_control: { type: 'ephemeral' } };
  const answer = await at.post('/v1/messages?beta=true', {
    model: 'gpt-6.1-terra',
    metadata: { user_id: '{}' },
    max_tokens: 128_000,
    thinking: { type: 'adaptive', display: 'omitted' },
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    output_config: { effort: 'high' },
    stream: true,
    system: [
      { type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1.328;' },
      { type: 'text', text: 'You work.' },
    ],
    tools: [
      { name: 'ToolSearch', description: 'Finds.', input_schema: { type: 'object', properties: {} } },
      { name: 'DeferredToolPlaceholder', input_schema: { type: 'object', properties: {} }, defer_loading: true },
      { name: 'CronList', input_schema: { type: 'object', properties: {} }, defer_loading: true },
    ],
    messages: [
      { role: 'user', content: [reminder, { type: 'text', text: 'Go.' }] },
      { role: 'system', content: [{ type: 'text', text: '# Environment' }], output_config: { effort: 'medium' } },
      { role: 'assistant', content: [{ type: 'tool_use', id: 'call_1', name: 'ToolSearch', input: {} }] },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'call_1', content: [{ type: 'tool_reference', tool_name: 'CronList' }] },
          { type: 'text', text: 'Tool loaded.', cache_control: { type: 'ephemeral' } },
        ],
      },
    ],
  });
  t.regex(await answer.text(), /event: message_stop/);
  t.is(answer.status, 200);
  const [sent] = at.requests;
  t.deepEqual(
    ((sent?.tools ?? []) as { function: { name: string } }[]).map((tool) => tool.function.name),
    ['ToolSearch', 'CronList'],
  );
  t.deepEqual(
    sent?.messages.map(({ role }) => role),
    ['system', 'user', 'system', 'assistant', 'tool', 'user'],
  );
  t.like(sent?.messages[0], { content: 'You work.' });
});

const missing = ({ model, messages }: Sent) => {
  if (model !== thinker) return undefined;
  const at = messages.findIndex((each) => 'tool_calls' in each && each.reasoning_content === undefined);
  return at < 0 ? undefined : `Missing reasoning_content field in the assistant message at message index ${at}`;
};
const withTools = { tools: [{ name: 'look', input_schema: { type: 'object' as const } }] };
const thinker = 'deepseek-reasoner';

for (const [title, extra, shown] of [
  [
    'a client that asks for thinking sees it',
    { thinking: { type: 'enabled' as const, budget_tokens: 1_024 } },
    'I think so.',
  ],
  ['a client that asks for none does not see it', {}, ''],
] as const)
  for (const stream of [false, true])
    test(`thinking that a server wants back comes back with the calls, ${stream ? 'streamed' : 'whole'}: ${title}`, async (t) => {
      await using at = await startOpenAi(
        (sent) =>
          isAnswered(sent) ? { content: 'Done.' } : { reasoning_content: 'I think so.', ...calls('look', {}) },
        missing,
      );
      const body = { ...withTools, ...extra, model: thinker, max_tokens: 2_048 };
      const first = [{ role: 'user' as const, content: 'Look.' }];
      const ask = async (messages: Anthropic.MessageParam[]) =>
        stream
          ? await at.claude.messages.stream({ ...body, messages }).finalMessage()
          : await at.claude.messages.create({ ...body, messages });
      const said = await ask(first);
      t.like(said.content[0], { type: 'thinking', thinking: shown });
      t.like(said.content[1], { type: 'tool_use', name: 'look' });
      const result = { type: 'tool_result' as const, tool_use_id: 'call_1', content: 'seen' };
      const older = [
        { role: 'assistant' as const, content: [{ type: 'tool_use' as const, id: 'older', name: 'look', input: {} }] },
        { role: 'user' as const, content: [{ ...result, tool_use_id: 'older' }] },
      ];
      const history: Anthropic.MessageParam[] = [
        ...first,
        { role: 'assistant', content: said.content },
        { role: 'user', content: [result] },
      ];
      t.like((await ask([...first, ...older, ...history.slice(1)])).content, [{ type: 'text', text: 'Done.' }]);
      const thoughts = at.requests[1]?.messages.map((each) => each.reasoning_content);
      t.deepEqual(
        thoughts,
        [undefined, '', undefined, 'I think so.', undefined],
        'of calls that came otherwise it is empty',
      );
      // Another model of the same wire did not think it, and OpenAI does not know the field.
      await at.claude.messages.create({ ...body, model: 'gpt-4.1', messages: history });
      t.false(JSON.stringify(at.requests.at(-1)).includes('reasoning_content'));
    });

test('an answer without calls, to a client that asks for no thinking, begins with its text', async (t) => {
  await using at = await startOpenAi(() => ({ reasoning_content: 'I think so.', content: 'Yes.' }));
  const body = { model: thinker, max_tokens: 100, messages: [{ role: 'user' as const, content: 'x' }] };
  t.deepEqual(
    (await at.claude.messages.create(body)).content.map(({ type }) => type),
    ['text'],
  );
  t.deepEqual(
    (await at.claude.messages.stream(body).finalMessage()).content.map(({ type }) => type),
    ['text'],
  );
});

test('what carries thinking of another model stays away from Anthropic, and nothing else of such a request changes', async (t) => {
  const bodies: string[] = [];
  await using raw = await startRaw((_, body, response) => {
    bodies.push(body);
    response
      .setHeader('content-type', 'application/json')
      .end('{"content":[],"usage":{"input_tokens":1,"output_tokens":1}}');
  });
  await using proxy = await startHttpProxy('anthropic', { script: () => ({}), environment: raw.environment });
  await using at = await startOpenAi(() => ({ reasoning_content: 'I think so.', ...calls('look', {}) }));
  const asked = { ...withTools, model: thinker, max_tokens: 100, messages: [{ role: 'user' as const, content: 'x' }] };
  const { content } = await at.claude.messages.create(asked);
  const own = { type: 'thinking', thinking: 'Mine.', signature: 'EqMD' };
  const result = { type: 'tool_result', tool_use_id: 'call_1', content: 'seen' };
  const history = (blocks: unknown[]) => ({
    model: 'claude-sonnet-4-6',
    max_tokens: 100,
    messages: [...asked.messages, { role: 'assistant', content: blocks }, { role: 'user', content: [result] }],
  });
  const plain = history([own, content[1]]);
  for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
    await proxy.post(path, history([content[0], own, content[1]]));
    t.deepEqual(JSON.parse(bodies.at(-1) ?? ''), plain);
    await proxy.post(path, ` ${JSON.stringify(plain)}`);
    t.is(bodies.at(-1), ` ${JSON.stringify(plain)}`);
  }
});

test('tools whose names are too long for OpenAI are called by them all the same, streamed and whole', async (t) => {
  const names = ['a', 'b'].map((end) => `mcp__a_server_of_somebody__${'x'.repeat(60)}_${end}`);
  const nameIn = (sent: Sent) => (sent.tools as { function: { name: string } }[])[1]?.function.name ?? '';
  await using at = await startOpenAi((sent) => (isAnswered(sent) ? { content: 'Done.' } : calls(nameIn(sent), {})));
  const tools = names.map((name) => ({ name, input_schema: { type: 'object' as const } }));
  const body = {
    model: 'gpt-4.1',
    max_tokens: 100,
    tools,
    tool_choice: { type: 'tool' as const, name: names[1] ?? '' },
  };
  const first = [{ role: 'user' as const, content: 'x' }];
  const whole = await at.claude.messages.create({ ...body, messages: first });
  const streamed = await at.claude.messages.stream({ ...body, messages: first }).finalMessage();
  for (const { content } of [whole, streamed]) t.like(content, [{ type: 'tool_use', name: names[1] }]);
  const result = { type: 'tool_result' as const, tool_use_id: 'call_1', content: 'seen' };
  const messages = [
    ...first,
    { role: 'assistant' as const, content: whole.content },
    { role: 'user' as const, content: [result] },
  ];
  t.like((await at.claude.messages.create({ ...body, messages })).content, [{ type: 'text', text: 'Done.' }]);
  t.is(
    new Set(((at.requests[2]?.tools ?? []) as { function: { name: string } }[]).map((each) => each.function.name)).size,
    2,
  );
});

test('a model is asked for no more than it puts out, by clients of either wire', async (t) => {
  await using folder = await temporaryFolder();
  const file = await modelsFileIn(folder.path, modelEntry('gpt-4.1', 'openai', 'max_output_tokens = 32768'));
  await using at = await startOpenAi(() => ({ content: 'x' }), undefined, {
    MODELS_FILE: file,
    LLM_MAX_OUTPUT_TOKENS: '200000',
  });
  const messages = [{ role: 'user', content: 'x' }];
  const limitOf = async (path: string, body: object) => {
    const answer = await at.post(path, { messages, model: 'gpt-4.1', ...body });
    t.is(answer.status, 200, await answer.text());
    const sent = at.requests.at(-1);
    const limit = sent?.max_tokens ?? sent?.max_completion_tokens;
    t.is(answer.headers.get('x-toka-max-output-tokens'), limit === 32_768 ? '32768' : null);
    return limit;
  };
  t.is(await limitOf('/v1/messages', { max_tokens: 128_000 }), 32_768);
  t.is(await limitOf('/v1/messages', { max_tokens: 500 }), 500);
  t.is(await limitOf('/v1/chat/completions', { max_tokens: 128_000 }), 32_768);
  t.is(await limitOf('/v1/chat/completions', { max_completion_tokens: 500 }), 500);
  t.is(
    await limitOf('/v1/messages', { model: 'gpt-4o-mini', max_tokens: 128_000 }),
    128_000,
    'of which nothing is known',
  );
});
