import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import fc from 'fast-check';
import { Usage } from '#shared/contracts/llm.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { createFinder } from '../../services/llm-proxy/models/find.ts';
import { entriesOf } from '../../services/llm-proxy/models/names.ts';
import { parseModelsFile } from '../../services/llm-proxy/models/parse.ts';
import { createPricing } from '../../services/llm-proxy/models/price.ts';
import type { ModelsFile } from '../../services/llm-proxy/models/schema.ts';
import type { Endpoint } from '../../services/llm-proxy/models/target.ts';
import { usageIn } from '../../services/llm-proxy/wires/usage.ts';

type Json = Record<string, unknown>;

/** What a provider tells of an answer. `around`: beside the usage; `end`: what the last event of Anthropic's stream tells instead. */
type Told = { usage: Json; around?: Json; end?: Json };
type Row = [name: string, model: string, told: Told, costUsd: number | null, usage?: Partial<Usage>];

const claude = (input: number, output: number, more: Json = {}): Json => ({
  ...{ input_tokens: input, output_tokens: output, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 },
  ...more,
});
const gpt = (input: number, output: number, more: Json = {}): Json => ({
  ...{ prompt_tokens: input, completion_tokens: output, total_tokens: input + output },
  ...more,
});
const writes = (five: number, hour: number): Json => ({
  cache_creation_input_tokens: five + hour,
  cache_creation: { ephemeral_5m_input_tokens: five, ephemeral_1h_input_tokens: hour },
});
const nothing = { input_tokens: 0, cache_read_input_tokens: 0, cache_creation_input_tokens: 0 };

const claudeRows: Row[] = [
  ['an hour in the cache', 'claude-opus-5-5', { usage: claude(2_000, 100, writes(0, 8_000)) }, 0.074],
  ['an hour for a part', 'claude-sonnet-4-6', { usage: claude(8_000, 280, writes(0, 2_000)) }, 0.0402],
  ['an hour for all', 'claude-haiku-4-5', { usage: claude(0, 0, writes(0, 1_000_000)) }, 2],
  ['both lives in one call', 'claude-haiku-4-5', { usage: claude(0, 0, writes(400_000, 600_000)) }, 1.7],
  [
    'five minutes, not told apart',
    'claude-haiku-4-5',
    { usage: claude(0, 0, { cache_creation_input_tokens: 1e6 }) },
    1.25,
  ],
  ['the standard way, said', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { service_tier: 'standard' }) }, 0.0045],
  ['batch', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { service_tier: 'batch' }) }, 0.00225, { tier: 'batch' }],
  ['a committed tier', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { service_tier: 'priority' }) }, null],
  ['in the US', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { inference_geo: 'us' }) }, 0.00495, { region: 'us' }],
  ['anywhere', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { inference_geo: 'global' }) }, 0.0045],
  ['a place without a price', 'claude-sonnet-4-6', { usage: claude(1_000, 100, { inference_geo: 'mars' }) }, null],
  ['no place told', 'claude-haiku-4-5', { usage: claude(1_000, 100, { inference_geo: 'not_available' }) }, 0.0015],
  [
    ...(['two searches', 'claude-sonnet-4-6'] as const),
    { usage: claude(1_000, 100, { server_tool_use: { web_search_requests: 2, web_fetch_requests: 5 } }) },
    0.0245,
    { webSearches: 2 },
  ],
  ['fast', 'claude-opus-5-5', { usage: claude(10_000, 1_000, { speed: 'fast' }) }, 0.12, { tier: 'fast' }],
  ['not fast', 'claude-opus-5-5', { usage: claude(10_000, 1_000, { speed: 'standard' }) }, 0.06],
  ['fast without a price', 'claude-opus-4-8', { usage: claude(10_000, 1_000, { speed: 'fast' }) }, null],
  [
    ...(['fast, in the US, an hour'] as const),
    'claude-opus-5-5',
    { usage: claude(2_000, 100, { ...writes(0, 8_000), speed: 'fast', inference_geo: 'us' }) },
    0.1628,
  ],
  ['up to the step', 'claude-haiku-5-5', { usage: claude(100_000, 1_000) }, 0.0105],
  ['above the step', 'claude-haiku-5-5', { usage: claude(100_001, 1_000) }, 0.0525005],
  [
    'above it by the cache',
    'claude-haiku-5-5',
    { usage: claude(1, 0, { cache_read_input_tokens: 200_000 }) },
    0.0100005,
  ],
  [
    'nought at the end',
    'claude-sonnet-4-6',
    { usage: claude(5_000, 20), end: { ...nothing, output_tokens: 20 } },
    0.0153,
  ],
  [
    ...(['nought of the cache at the end', 'claude-sonnet-4-6'] as const),
    {
      usage: claude(100, 20, { cache_read_input_tokens: 3_000, ...writes(0, 1_000) }),
      end: { ...nothing, input_tokens: 100, output_tokens: 20 },
    },
    0.0075,
    { inputTokens: 4_100, cachedInputTokens: 3_000, cacheWriteTokens: 1_000, cacheWriteLongTokens: 1_000 },
  ],
  [
    ...(['thinking', 'claude-sonnet-4-6'] as const),
    { usage: claude(1_000, 100, { output_tokens_details: { thinking_tokens: 80 } }) },
    0.0045,
    { reasoningTokens: 80 },
  ],
];

const gptRows: Row[] = [
  [
    ...(['what is written', 'gpt-6.1-terra'] as const),
    { usage: gpt(10_000, 100, { prompt_tokens_details: { cached_tokens: 0, cache_write_tokens: 8_000 } }) },
    0.0125,
  ],
  [
    ...(['twelve hours in the cache', 'gpt-6.1-terra'] as const),
    {
      usage: gpt(10_000, 100, {
        prompt_tokens_details: {
          ...{ cached_tokens: 0, cache_write_tokens: 8_000 },
          cache_write_tokens_details: { ttl_12h_tokens: 8_000, ttl_30m_tokens: 0 },
        },
      }),
    },
    0.0225,
  ],
  [
    ...(['twelve hours without a price', 'gpt-6.1-sol'] as const),
    {
      usage: gpt(10_000, 100, {
        prompt_tokens_details: { cache_write_tokens: 8_000, cache_write_tokens_details: { ttl_12h_tokens: 8_000 } },
      }),
    },
    null,
  ],
  ['default', 'gpt-6.1-terra', { usage: gpt(1_000, 100), around: { service_tier: 'default' } }, 0.0015],
  ['flex', 'gpt-6.1-terra', { usage: gpt(1_000, 100), around: { service_tier: 'flex' } }, 0.00075, { tier: 'flex' }],
  ['priority', 'gpt-6.1-terra', { usage: gpt(1_000, 100), around: { service_tier: 'priority' } }, 0.003],
  ['fast', 'gpt-6.1-terra', { usage: gpt(1_000, 100), around: { service_tier: 'fast' } }, 0.003, { tier: 'priority' }],
  ['a tier without a price', 'gpt-6.1-terra', { usage: gpt(1_000, 100), around: { service_tier: 'ultrafast' } }, null],
  ['a long prompt', 'gpt-6.1-terra', { usage: gpt(300_000, 0) }, 0.6],
  ['a long prompt and its answer', 'gpt-6.1-terra', { usage: gpt(300_000, 1_000) }, 0.6075],
  ['the longest short prompt', 'gpt-6.1-terra', { usage: gpt(272_000, 1_000) }, 0.277],
  ['priority of an older one', 'gpt-4.1', { usage: gpt(100_000, 10_000), around: { service_tier: 'priority' } }, 0.49],
  ['a tier with its own prices', 'gpt-4o-mini', { usage: gpt(1e6, 1e6), around: { service_tier: 'priority' } }, 1.25],
  ['no long prompt in a tier', 'gpt-5.4', { usage: gpt(300_000, 0), around: { service_tier: 'priority' } }, null],
  ['a dated name with a price of its own', 'gpt-4o-2024-05-13', { usage: gpt(1_000, 100) }, 0.0065],
  ['a dated name', 'gpt-4.1-2025-04-14', { usage: gpt(1_000, 100) }, 0.0028],
  [
    ...(['thinking beside the answer', 'gpt-4.1'] as const),
    { usage: gpt(50, 12, { total_tokens: 962, completion_tokens_details: { reasoning_tokens: 900 } }) },
    0.007396,
    { outputTokens: 912, reasoningTokens: 900 },
  ],
  [
    ...(['thinking and no answer', 'gpt-4.1'] as const),
    { usage: gpt(30, 0, { total_tokens: 105, completion_tokens_details: { reasoning_tokens: 75 } }) },
    0.00066,
    { outputTokens: 75, reasoningTokens: 75 },
  ],
  [
    'thinking in the total alone',
    'gpt-4.1',
    { usage: gpt(20, 151, { total_tokens: 553 }) },
    0.004304,
    { outputTokens: 533 },
  ],
  [
    ...(['thinking in the answer', 'gpt-4.1'] as const),
    { usage: gpt(50, 912, { completion_tokens_details: { reasoning_tokens: 900 } }) },
    0.007396,
    { outputTokens: 912, reasoningTokens: 900 },
  ],
  [
    ...(['more cached than there was', 'gpt-4.1'] as const),
    { usage: gpt(1_000, 0, { prompt_tokens_details: { cached_tokens: 5_000 } }) },
    0.0005,
    { inputTokens: 1_000, cachedInputTokens: 1_000 },
  ],
];

const event = (data: Json, name?: string) => `${name ? `event: ${name}\n` : ''}data: ${JSON.stringify(data)}\n\n`;

/** Chat's usage as responses tell it. */
const responsesUsage = ({ prompt_tokens, completion_tokens, total_tokens, ...details }: Json): Json => ({
  ...{ input_tokens: prompt_tokens, output_tokens: completion_tokens, total_tokens },
  input_tokens_details: details.prompt_tokens_details ?? { cached_tokens: 0 },
  output_tokens_details: details.completion_tokens_details ?? { reasoning_tokens: 0 },
});

function answerMessages({ usage, end }: Told, model: string, stream: boolean): string {
  const head = { id: 'msg_1', type: 'message', role: 'assistant', model };
  const content = [{ type: 'text', text: 'Yes.' }];
  const stop = { stop_reason: 'end_turn', stop_sequence: null };
  if (!stream) return JSON.stringify({ ...head, content, ...stop, usage });
  const message = {
    ...head,
    content: [],
    stop_reason: null,
    usage: { ...usage, output_tokens: Math.min(1, Number(usage.output_tokens)) },
  };
  const { output_tokens, output_tokens_details, server_tool_use } = usage;
  return [
    event({ type: 'message_start', message }, 'message_start'),
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }, 'content_block_start'),
    event(
      { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Yes.' } },
      'content_block_delta',
    ),
    event({ type: 'content_block_stop', index: 0 }, 'content_block_stop'),
    event(
      { type: 'message_delta', delta: stop, usage: end ?? { output_tokens, output_tokens_details, server_tool_use } },
      'message_delta',
    ),
    event({ type: 'message_stop' }, 'message_stop'),
  ].join('');
}

function answerChat({ usage, around }: Told, model: string, stream: boolean): string {
  const head = { id: 'chatcmpl-1', created: 1, model, ...around };
  const message = { role: 'assistant', content: 'Yes.' };
  if (!stream) {
    const choices = [{ index: 0, message, finish_reason: 'stop' }];
    return JSON.stringify({ ...head, object: 'chat.completion', choices, usage });
  }
  const chunk = (more: Json) => event({ ...head, object: 'chat.completion.chunk', ...more });
  const said = chunk({ choices: [{ index: 0, delta: message, finish_reason: null }], usage: null });
  const stopped = chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage: null });
  return `${said}${stopped}${chunk({ choices: [], usage })}data: [DONE]\n\n`;
}

function answerResponses({ usage, around }: Told, model: string, stream: boolean): string {
  const part = { type: 'output_text', text: 'Yes.', annotations: [] };
  const output = [{ type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [part] }];
  const head = { id: 'resp_1', object: 'response', model, output, ...around };
  const response = { ...head, status: 'completed', usage: responsesUsage(usage) };
  if (!stream) return JSON.stringify(response);
  const created = { ...response, status: 'in_progress', output: [], usage: null, service_tier: 'auto' };
  return [
    event({ type: 'response.created', sequence_number: 0, response: created }, 'response.created'),
    event({ type: 'response.completed', sequence_number: 1, response }, 'response.completed'),
  ].join('');
}

async function startMoney(terms: Json = {}) {
  await using stack = new AsyncDisposableStack();
  let told: Told = { usage: {} };
  let asked = 0;
  const send = (url: string, { model, stream }: Json, response: ServerResponse) => {
    asked += 1;
    if (url.endsWith('/embeddings')) {
      const data = [{ object: 'embedding', index: 0, embedding: [0.1] }];
      response.setHeader('content-type', 'application/json');
      return response.end(JSON.stringify({ object: 'list', model, data, usage: told.usage }));
    }
    const write = url.endsWith('/messages')
      ? answerMessages
      : url.endsWith('/responses')
        ? answerResponses
        : answerChat;
    response.setHeader('content-type', stream ? 'text/event-stream' : 'application/json');
    return response.end(write(told, String(model), stream === true));
  };
  const raw = stack.use(
    await startRaw((incoming, body, response) => send(incoming.url ?? '', JSON.parse(body) as Json, response)),
  );
  const proxy = stack.use(
    await startHttpProxy('anthropic', { script: () => ({}), environment: raw.environment, terms }),
  );
  let ended = 0;
  const owned = stack.move();
  return {
    proxy,
    asked: () => asked,
    /** Makes calls whose answers say the same: what the clients get, and what the ledger says of them, in any order. */
    async calls(tell: Told, calls: readonly (readonly [path: string, body: Json])[]) {
      told = tell;
      const answers = await Promise.all(
        calls.map(async ([path, body]) => {
          const answer = await proxy.post(path, body);
          return { status: answer.status, text: await answer.text() };
        }),
      );
      ended += calls.length;
      return { answers, ledger: (await proxy.calls(ended)).slice(ended - calls.length).map(({ data }) => data) };
    },
    async call(path: string, body: Json, tell: Told) {
      const { answers, ledger } = await this.calls(tell, [[path, body]]);
      const [{ status, text } = { status: 0, text: '' }] = answers;
      return { status, text, data: ledger[0] };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const messages = [{ role: 'user', content: 'Hi' }];
const bodyFor: Record<string, (model: string) => Json> = {
  '/v1/messages': (model) => ({ model, max_tokens: 50, messages }),
  '/v1/chat/completions': (model) => ({ model, max_tokens: 50, messages }),
  '/v1/responses': (model) => ({ model, max_output_tokens: 50, input: 'Hi', store: false }),
};

/** Of more than 64 events of one key the archive is asked for earlier ones, and there is no store here that would answer. */
const rowsAtOnce = 10;

async function testRows(t: ExecutionContext, rows: readonly Row[]) {
  for (let from = 0; from < rows.length; from += rowsAtOnce) await testSomeRows(t, rows.slice(from, from + rowsAtOnce));
}

async function testSomeRows(t: ExecutionContext, rows: readonly Row[]) {
  await using money = await startMoney();
  for (const [name, model, told, costUsd, usage = {}] of rows) {
    const calls = Object.entries(bodyFor).flatMap(([path, body]) =>
      [false, true].map((stream) => [path, { ...body(model), stream }] as const),
    );
    const { answers, ledger } = await money.calls(told, calls);
    for (const { status, text } of answers) t.is(status, 200, `${name}: ${text}`);
    t.deepEqual(
      ledger.map((data) => data.costUsd),
      calls.map(() => costUsd),
      `${name}: ${model}`,
    );
    for (const data of ledger) {
      t.deepEqual({ ...data.usage, ...usage }, data.usage, name);
      t.is(data.estimated, undefined, name);
    }
  }
}

test('Claude costs what its usage says, to the last digit, whole and streamed, by every wire', (t) =>
  testRows(t, claudeRows));

test('GPT costs what its usage says, to the last digit, whole and streamed, by every wire', (t) =>
  testRows(t, gptRows));

test('searches that OpenAI made are charged, pages that it opened are not', async (t) => {
  await using money = await startMoney();
  const searched = (action: string) => ({
    type: 'web_search_call',
    id: 'ws_1',
    status: 'completed',
    action: { type: action },
  });
  const output = [searched('search'), searched('open_page'), searched('search'), searched('find_in_page')];
  for (const stream of [false, true]) {
    const body = { model: 'gpt-6.1-terra', input: 'Hi', tools: [{ type: 'web_search' }], stream };
    const { data } = await money.call('/v1/responses', body, { usage: gpt(1_000, 100), around: { output } });
    t.is(data?.costUsd, 0.0215);
    t.is(data?.usage.webSearches, 2);
  }
  const without = await money.call(
    '/v1/responses',
    { model: 'gpt-4.1', input: 'Hi' },
    { usage: gpt(1_000, 100), around: { output } },
  );
  t.is(without.data?.costUsd, null, 'a search whose price is not known');
});

test('embeddings cost their input', async (t) => {
  await using money = await startMoney();
  const usage = { prompt_tokens: 1_000_000, total_tokens: 1_000_000 };
  const costs = { 'text-embedding-3-small': 0.02, 'text-embedding-3-large': 0.13, 'text-embedding-ada-002': 0.1 };
  for (const [model, costUsd] of Object.entries(costs)) {
    const { data } = await money.call('/v1/embeddings', { model, input: 'Hi' }, { usage });
    t.is(data?.costUsd, costUsd, model);
    t.is(data?.usage.outputTokens, 0);
  }
});

test('clients of every wire are told of thinking', async (t) => {
  await using money = await startMoney();
  const thought = { usage: claude(1_000, 100, { output_tokens_details: { thinking_tokens: 80 } }) };
  const chat = await money.call(
    '/v1/chat/completions',
    bodyFor['/v1/chat/completions']?.('claude-haiku-4-5') ?? {},
    thought,
  );
  t.like(JSON.parse(chat.text), {
    usage: { completion_tokens: 100, completion_tokens_details: { reasoning_tokens: 80 } },
  });
  const responses = await money.call('/v1/responses', bodyFor['/v1/responses']?.('claude-haiku-4-5') ?? {}, thought);
  t.like(JSON.parse(responses.text), {
    usage: { output_tokens: 100, output_tokens_details: { reasoning_tokens: 80 } },
  });
  const beside = { usage: gpt(50, 12, { total_tokens: 962, completion_tokens_details: { reasoning_tokens: 900 } }) };
  const body = bodyFor['/v1/messages']?.('gpt-4.1') ?? {};
  const whole = await money.call('/v1/messages', body, beside);
  t.like(JSON.parse(whole.text), { usage: { output_tokens: 912, output_tokens_details: { thinking_tokens: 900 } } });
  const streamed = await money.call('/v1/messages', { ...body, stream: true }, beside);
  t.regex(streamed.text, /"output_tokens":912,"output_tokens_details":\{"thinking_tokens":900\}/);
});

test('on a budget what asks for a way whose price is not known is refused, and nobody is asked', async (t) => {
  await using money = await startMoney({ budget: { usd: 1, per: 'day' } });
  const long = { cache_control: { type: 'ephemeral', ttl: '1h' } };
  const refused: [string, Json][] = [
    ['/v1/chat/completions', { model: 'gpt-6.1-terra', service_tier: 'ultrafast' }],
    ['/v1/chat/completions', { model: 'gpt-4.1', service_tier: 'flex' }],
    ['/v1/messages', { model: 'claude-sonnet-4-6', speed: 'fast' }],
    ['/v1/messages', { model: 'claude-sonnet-4-6', inference_geo: 'mars' }],
    ['/v1/responses', { model: 'gpt-6.1-sol', prompt_cache_options: { ttl: '12h' } }],
    ['/v1/responses', { model: 'gpt-4.1', tools: [{ type: 'web_search' }] }],
  ];
  for (const [path, fields] of refused) {
    const answer = await money.proxy.post(path, { ...bodyFor[path]?.(''), ...fields });
    t.is(answer.status, 400, JSON.stringify(fields));
    t.regex(await answer.text(), /has no price in MODELS_FILE/);
  }
  t.is(money.asked(), 0);
  const served: [string, Json, Told][] = [
    ['/v1/chat/completions', { model: 'gpt-6.1-terra', service_tier: 'fast' }, { usage: gpt(10, 1) }],
    ['/v1/messages', { model: 'claude-opus-5-5', speed: 'fast', inference_geo: 'us' }, { usage: claude(10, 1) }],
    [
      '/v1/messages',
      { model: 'claude-opus-5-5', system: [{ type: 'text', text: 'x', ...long }] },
      { usage: claude(10, 1) },
    ],
    [
      '/v1/embeddings',
      { model: 'text-embedding-3-small', input: 'Hi' },
      { usage: { prompt_tokens: 10, total_tokens: 10 } },
    ],
  ];
  for (const [path, fields, told] of served) {
    const { status, text } = await money.call(path, { ...bodyFor[path]?.(''), ...fields }, told);
    t.is(status, 200, text);
  }
});

test('every model that today’s clients ask for has a price', (t) => {
  const { file } = parseModelsFile(readFileSync('config/models.toml', 'utf8'), () => []);
  const asked = [
    ...['claude-opus-5-5', 'claude-sonnet-5-5', 'claude-haiku-5-5', 'claude-fable-5-2', 'claude-fable-5-1'],
    ...['claude-opus-4-8', 'claude-sonnet-4-6', 'claude-haiku-4-5', 'claude-haiku-4-5-20251001'],
    ...['gpt-6.1-sol', 'gpt-6.1-terra', 'gpt-6-luna', 'gpt-5.6-terra', 'gpt-5.5', 'gpt-5.4', 'gpt-5.4-nano', 'gpt-5'],
    ...['gpt-4.1', 'gpt-4.1-mini', 'gpt-4o', 'gpt-4o-mini', 'o1', 'o3', 'o3-mini', 'o4-mini'],
    ...['text-embedding-3-small', 'text-embedding-3-large'],
  ];
  for (const name of asked) {
    const [entry] = entriesOf(file?.models ?? [], name);
    t.true((createPricing(entry).estimateCost(1_000, 1_000) ?? 0) > 0, name);
  }
});

const inOrder = (...told: Json[]) =>
  told.reduce<Usage | undefined>((sofar, usage) => usageIn({ usage }, sofar) ?? sofar, undefined);
const told: [name: string, first: Json, last: Json, usage: Partial<Usage>][] = [
  ['the input at the end only', claude(0, 0), claude(5_000, 20), { inputTokens: 5_000, outputTokens: 20 }],
  ['an input that has grown', claude(100, 1), claude(900, 20), { inputTokens: 900, outputTokens: 20 }],
  [
    ...(['an input that has grown, and no word of the cache'] as const),
    claude(100, 1, { cache_read_input_tokens: 3_000 }),
    { input_tokens: 5_000, output_tokens: 20 },
    { inputTokens: 8_000, cachedInputTokens: 3_000 },
  ],
  ['all nought at the end', gpt(100, 7), gpt(0, 0), { inputTokens: 100, outputTokens: 7 }],
  [
    ...(['what was cached at the end only'] as const),
    gpt(100, 1),
    gpt(100, 7, { prompt_tokens_details: { cached_tokens: 100 } }),
    { inputTokens: 100, cachedInputTokens: 100, outputTokens: 7 },
  ],
  [
    'the tier at the beginning',
    claude(9, 1, { speed: 'fast' }),
    { output_tokens: 7 },
    { tier: 'fast', outputTokens: 7 },
  ],
  ['an end that cannot be read', claude(9, 1), { output_tokens: -1 }, { inputTokens: 9, outputTokens: 1 }],
];

for (const [name, first, last, usage] of told) {
  test(`a stream tells twice: ${name}`, (t) => t.like(inOrder(first, last), usage));
}

test('whatever is told, the parts of a usage are within it', (t) => {
  const number = fc.oneof(fc.nat(10_000), fc.constantFrom(0, -1, 0.5, null, 'many', 2 ** 53), fc.constant(undefined));
  const details = fc.record({
    cached_tokens: number,
    cache_write_tokens: number,
    reasoning_tokens: number,
    thinking_tokens: number,
  });
  const usage = fc.record(
    {
      ...{ prompt_tokens: number, completion_tokens: number, total_tokens: number, prompt_tokens_details: details },
      ...{ input_tokens: number, output_tokens: number, input_tokens_details: details, output_tokens_details: details },
      ...{ cache_read_input_tokens: number, cache_creation_input_tokens: number, completion_tokens_details: details },
      cache_creation: fc.record({ ephemeral_5m_input_tokens: number, ephemeral_1h_input_tokens: number }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.array(usage, { minLength: 1, maxLength: 3 }), (events) => {
      const read = inOrder(...events);
      if (!read) return true;
      const { inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens } = Usage.parse(read);
      const { cacheWriteLongTokens = 0, reasoningTokens = 0 } = read;
      const fits = cachedInputTokens + cacheWriteTokens <= inputTokens && cacheWriteLongTokens <= cacheWriteTokens;
      return fits && reasoningTokens <= outputTokens;
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

test('OpenAI charges more at the hosts of a region, and at one without a price nobody knows how much', (t) => {
  const { file } = parseModelsFile(readFileSync('config/models.toml', 'utf8'), () => []);
  const usage = { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 0, cacheWriteTokens: 0 };
  const costAt = (model: string, baseUrl: string, official = false) => {
    const endpoint: Endpoint = {
      ...{ name: 'there', wire: 'openai', baseUrl, official, weight: 1, timeoutMs: 1, firstByteMs: 1, pieceMs: 1_000 },
      apiKey: () => undefined,
      upstream: { label: '', keySetting: '', urlSetting: '', baseUrl },
    };
    const models = (file?.models ?? []).map((entry) => ({ ...entry, endpoints: ['there'] }));
    const found = createFinder({ ...(file as ModelsFile), models }, new Map([['there', endpoint]]), 'there');
    const [target] = found.groupsOf(model)[0] ?? [];
    return [target?.cost(usage), target?.estimateCost(1_000, 100)];
  };
  t.deepEqual(costAt('gpt-5.4-nano', 'https://eu.api.openai.com/v1'), [0.0003575, 0.0003575]);
  t.deepEqual(costAt('gpt-5.4-nano', 'https://api.openai.com/v1', true), [0.000325, 0.000325]);
  t.deepEqual(costAt('gpt-5.4-nano', 'https://zz.api.openai.com/v1'), [null, null]);
  t.deepEqual(costAt('gpt-4.1', 'https://zz.api.openai.com/v1'), [0.0028, 0.0028], 'it costs the same everywhere');
});

test('a call of the ledger that was written before still reads as it did', (t) => {
  const old = { inputTokens: 10, outputTokens: 5, cachedInputTokens: 2, cacheWriteTokens: 1 };
  t.deepEqual(Usage.parse(old), old);
});

test('no estimate is below a cost, however the call is served of what it asked for', (t) => {
  const price = fc.double({ min: 0, max: 100, noNaN: true });
  const factor = fc.double({ min: 0.01, max: 10, noNaN: true });
  const count = fc.nat(1_000_000);
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  const three = { input_usd_per_mtok: price, cached_input_usd_per_mtok: price, output_usd_per_mtok: price };
  const writing = { cache_write_usd_per_mtok: price, cache_write_long_usd_per_mtok: price };
  const optional = {
    requiredKeys: ['input_usd_per_mtok', 'cached_input_usd_per_mtok', 'output_usd_per_mtok'] as const,
  };
  const step = fc.record({
    above_prompt_tokens: fc.integer({ min: 1, max: 1e6 }),
    input_factor: factor,
    output_factor: factor,
  });
  const entry = fc.record(
    {
      ...{ ...three, ...writing, prompt_tokens_max: fc.integer({ min: 1, max: 1e6 }), web_search_usd_per_1k: price },
      steps: fc.array(step, { maxLength: 3 }),
      tiers: fc.record({
        flex: factor,
        priority: fc.record({ ...three, ...writing }, { requiredKeys: [...optional.requiredKeys] }),
      }),
      regions: fc.record({ us: factor, eu: factor }),
    },
    { requiredKeys: [...optional.requiredKeys] },
  );
  const tier = fc.constantFrom(undefined, 'flex', 'priority', 'other');
  const region = fc.constantFrom(undefined, 'us', 'eu', 'global', 'other');
  const most = fc.record({ input: count, output: count, searches: fc.nat(20), keepsLong: fc.boolean() });
  const shares = fc.array(share, { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(
      entry,
      most,
      shares,
      tier,
      region,
      fc.boolean(),
      region,
      (prices, max, parts, asked, where, granted, place) => {
        const { cost, estimateCost } = createPricing(prices);
        const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = parts;
        const inputTokens = Math.floor(max.input * a);
        const cachedInputTokens = Math.floor(inputTokens * b);
        const cacheWriteTokens = Math.floor((inputTokens - cachedInputTokens) * c);
        const usage = {
          ...{ inputTokens, cachedInputTokens, cacheWriteTokens, outputTokens: Math.floor(max.output * d) },
          cacheWriteLongTokens: max.keepsLong ? Math.floor(cacheWriteTokens * e) : 0,
          webSearches: Math.floor(max.searches * f),
          tier: granted ? asked : undefined,
          region: where ?? place,
        };
        const is = cost(usage);
        const terms = { tier: asked, region: where, webSearchesMax: max.searches, keepsLong: max.keepsLong };
        const estimate = estimateCost(max.input, max.output, terms);
        return is === null || estimate === null || (is >= 0 && is <= estimate * (1 + 1e-9) + 1e-12);
      },
    ),
    { numRuns: 2_000 },
  );
  t.pass();
});
