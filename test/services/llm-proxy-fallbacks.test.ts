import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { endpointEntry, modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

type Play = (response: ServerResponse, body: string) => unknown;

const json =
  (status: number, body: unknown, headers = {}) =>
  (response: ServerResponse) =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
const said = json(200, {
  id: 'x',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Yes.' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
});

/** Two endpoints, `claude` and `gpt`, that answer as they are told, behind models of which each has the other's for its fallback. */
async function setUp(more = '', terms = {}) {
  await using stack = new AsyncDisposableStack();
  const asked: string[] = [];
  const plays: Record<'claude' | 'gpt', Play> = { claude: said, gpt: said };
  const start = (name: 'claude' | 'gpt') =>
    startRaw((_incoming, body, response) => {
      asked.push(name);
      plays[name](response, body);
    });
  const [claude, gpt] = [stack.use(await start('claude')), stack.use(await start('gpt'))];
  const text = [
    endpointEntry('claude', more, claude.environment.ANTHROPIC_BASE_URL).replace('"openai"', '"anthropic"'),
    endpointEntry('gpt', more, gpt.environment.OPENAI_BASE_URL),
    modelEntry('claude-fb', 'anthropic', 'endpoints = ["claude"]\nfallbacks = ["gpt-a"]'),
    modelEntry('claude-alone', 'anthropic', 'endpoints = ["claude"]'),
    modelEntry('gpt-a', 'openai', 'endpoints = ["gpt"]'),
    modelEntry('gpt-fb', 'openai', 'endpoints = ["gpt"]\nfallbacks = ["claude-alone"]'),
    '[aliases]\ncheap = ["gpt-a", "claude-alone"]\ngpt-like = "claude-alone"',
  ].join('\n');
  const MODELS_FILE = await modelsFileIn(stack.use(await temporaryFolder()).path, text);
  const proxy = stack.use(await startHttpProxy('openai', { script: () => ({}), environment: { MODELS_FILE }, terms }));
  const owned = stack.move();
  return { proxy, asked, plays, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const overloaded = json(529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } });

test('a fallback that cannot carry a request is left out, and what the one that was meant said is told', async (t) => {
  await using system = await setUp();
  const { proxy, asked, plays } = system;
  plays.claude = overloaded;
  const counting = { ...shortMessages, model: 'claude-fb' };
  const answer = await proxy.post('/v1/messages/count_tokens', counting);
  t.is(answer.status, 529);
  t.like(await answer.json(), { error: { type: 'overloaded_error', message: 'Overloaded' } });
  t.deepEqual(asked, ['claude']);
  const [event] = await proxy.calls(1);
  t.like(event?.data, { outcome: 'unavailable', provider: 'claude' });
});

test('one that is meant and cannot carry it is passed over where a fallback can; where none can, the field is named', async (t) => {
  await using system = await setUp();
  const { proxy, asked } = system;
  const embedding = await proxy.post('/v1/embeddings', { model: 'claude-fb', input: 'x' });
  t.is(embedding.status, 200);
  t.deepEqual(asked, ['gpt']);
  const refused = await proxy.post('/v1/embeddings', { model: 'claude-alone', input: 'x' });
  t.is(refused.status, 400);
  t.regex(await refused.text(), /makes no embeddings/);
  t.deepEqual(asked, ['gpt']);
});

test('what a fallback says of the request is not told of one that was only overloaded', async (t) => {
  await using system = await setUp();
  const { proxy, asked, plays } = system;
  plays.claude = overloaded;
  plays.gpt = json(400, { error: { message: 'unsupported parameter', type: 'invalid_request_error' } });
  const answer = await proxy.post('/v1/messages', { ...shortMessages, model: 'claude-fb' });
  t.is(answer.status, 529);
  t.deepEqual(asked, ['claude', 'gpt']);
});

/** `status` is what a client of the other wire is told: the provider's own, but not that it made a mistake. */
const broke: [what: string, status: number, play: Play][] = [
  ['402', 402, json(402, { error: { message: 'Insufficient Balance' } })],
  ['a quota', 429, json(429, { error: { message: 'quota', type: 'insufficient_quota', code: 'insufficient_quota' } })],
  ['a spend limit', 429, json(429, { error: { message: 'limit', code: 'project_spend_limit_exceeded' } })],
  ['a credit', 402, json(400, { type: 'error', error: { message: 'Your credit balance is too low to access it.' } })],
];

test('an account that cannot pay moves a call on to the next endpoint, and ends one that has none with whose it is to mend', async (t) => {
  await using system = await setUp();
  const { proxy, asked, plays } = system;
  for (const [what, status, play] of broke) {
    [plays.claude, plays.gpt] = [play, said];
    asked.length = 0;
    t.is((await proxy.post('/v1/messages', { ...shortMessages, model: 'claude-fb' })).status, 200, what);
    t.deepEqual(asked, ['claude', 'gpt'], what);
    const answer = await proxy.post('/v1/chat/completions', { ...shortChat, model: 'claude-alone' });
    t.is(answer.status, status, what);
    t.is(answer.headers.get('x-should-retry'), 'false');
    const { error } = (await answer.json()) as { error: { code: string; message: string } };
    t.is(error.code, 'insufficient_quota');
    t.regex(error.message, /whoever runs this has to see to the account at claude/);
  }
});

test('a key’s models hold for fallbacks and for what an alias stands for', async (t) => {
  await using system = await setUp('', { models: ['gpt-*', 'cheap'] });
  const { proxy, asked, plays } = system;
  plays.gpt = json(503, { error: { message: 'away' } });
  for (const model of ['gpt-fb', 'cheap']) {
    const answer = await proxy.post('/v1/chat/completions', { ...shortChat, model });
    t.is(answer.status, 503, model);
  }
  t.deepEqual([...new Set(asked)], ['gpt']);
  const refused = await proxy.post('/v1/chat/completions', { ...shortChat, model: 'gpt-like' });
  t.is(refused.status, 403, 'a pattern of the one does not reach the other by an alias');
  const listed = await proxy.openai.models.list();
  t.deepEqual(listed.data.map(({ id }) => id).toSorted(), ['cheap', 'gpt-a', 'gpt-fb']);
  plays.gpt = said;
  const named = await proxy.mint({ models: ['cheap'] });
  const headers = { authorization: `Bearer ${named.secret}` };
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, model: 'cheap' }, headers)).status, 200);
  t.deepEqual([...new Set(asked)], ['gpt']);
});

/** So many pieces of a chat's stream, one every `everyMs`, and its end. */
const stream =
  (pieces: number, everyMs: number, end = true): Play =>
  async (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const send = (delta: object, finish_reason: string | null = null) =>
      response.write(
        `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }] })}\n\n`,
      );
    for (let each = 0; each < pieces; each++) {
      send({ role: 'assistant', content: 'a' });
      await delay(everyMs);
    }
    if (!end) return;
    send({}, 'stop');
    response.end('data: [DONE]\n\n');
  };

test('a stream may take as long as it goes on, on both roads, and is ended when it does not', async (t) => {
  await using system = await setUp('timeout = 0.5');
  const { proxy, plays } = system;
  plays.gpt = stream(20, 80);
  const body = { ...shortChat, model: 'gpt-a', stream: true };
  const answer = await proxy.post('/v1/chat/completions', body);
  const text = await answer.text();
  t.is(text.split('"content":"a"').length - 1, 20);
  t.true(text.includes('[DONE]') && !text.includes('error'));
  t.is((await proxy.ask({ model: 'gpt-a' })).answer.text, 'a'.repeat(20));

  plays.gpt = stream(3, 80, false);
  const began = performance.now();
  const stalled = await (await proxy.post('/v1/chat/completions', body)).text();
  t.regex(stalled, /gpt sent no more of its answer within 0.5 s; see LLM_STREAM_TIMEOUT/);
  t.true(performance.now() - began < 3_000);
  await t.throwsAsync(proxy.ask({ model: 'gpt-a' }), { code: 'timeout', message: /sent no more/ });
});

test('an answer that comes whole has its endpoint’s time', async (t) => {
  await using system = await setUp('timeout = 0.5');
  const { proxy, plays } = system;
  plays.gpt = () => undefined;
  const answer = await proxy.post('/v1/chat/completions', { ...shortChat, model: 'gpt-a' });
  t.is(answer.status, 504);
});

test('counting tokens uses up nothing of a key’s calls', async (t) => {
  await using system = await setUp('', { limits: { requests: 1, window: 60 } });
  const { proxy, plays } = system;
  plays.claude = json(200, { input_tokens: 3 });
  const counting = { messages: shortMessages.messages, model: 'claude-alone' };
  for (let each = 0; each < 30; each++) t.is((await proxy.post('/v1/messages/count_tokens', counting)).status, 200);
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, model: 'gpt-a' })).status, 200);
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, model: 'gpt-a' })).status, 429);
});
