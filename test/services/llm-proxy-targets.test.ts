import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { modelEntry } from '#test/helpers/models.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const yes: FakeReply = { text: 'Yes.', usage: { inputTokens: 1_000, outputTokens: 100 } };
const no: FakeReply = { status: 503, message: 'maintenance' };
const cutOff: FakeReply = { fault: 'cut' };

/** Model "one" of OpenAI's; its fallback "two" is at an endpoint of Anthropic's wire, under another name; "fast" stands for both. */
async function setUp(script: () => FakeReply, options: Partial<Parameters<typeof startHttpProxy>[1]> = {}) {
  await using stack = new AsyncDisposableStack();
  const other = stack.use(await startFakeProvider({ script: () => yes }));
  const folder = stack.use(await temporaryFolder());
  const file = join(folder.path, 'models.toml');
  const text = (more = '') => `
[aliases]
fast = "one"

[[endpoints]]
name = "far"
wire = "anthropic"
base_url = "${other.url}"
${modelEntry('one', 'openai', 'fallbacks = ["two"]').replace('input_usd_per_mtok = 0', 'input_usd_per_mtok = 1000')}
${modelEntry('two', 'anthropic', 'endpoints = ["far"]\nupstream_id = "two-v3"').replace('output_usd_per_mtok = 0', 'output_usd_per_mtok = 5')}
${more}`;
  await writeFile(file, text());
  const environment = { MODELS_FILE: file, ANTHROPIC_API_KEY: '', ...options.environment };
  const proxy = await startHttpProxy('openai', { ...options, script, environment });
  stack.use(proxy);
  const owned = stack.move();
  return {
    ...{ proxy, other },
    write: (more: string) => writeFile(file, text(more)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('an alias is asked for by the name of its model, on either way, and is among the models', async (t) => {
  await using system = await setUp(() => yes);
  const { proxy } = system;
  const answer = await proxy.openai.chat.completions.create({ ...shortChat, model: 'fast' });
  t.is(answer.choices[0]?.message.content, 'Yes.');
  t.is((await proxy.ask({ model: 'fast' })).facts.costUsd, 1);
  t.deepEqual(
    proxy.fake.requests.map(({ model }) => model),
    ['one', 'one'],
  );
  const names = (await proxy.openai.models.list()).data.map(({ id }) => id);
  t.deepEqual(names, ['one', 'fast', 'two']);
  t.is((await proxy.ask({ model: 'far/two' })).facts.provider, 'far');
});

for (const stream of [false, true])
  test(`a fallback answers in the words of whoever asks, ${stream ? 'in a stream' : 'whole'}, and the ledger says who it was`, async (t) => {
    await using system = await setUp(() => no);
    const { proxy, other } = system;
    const asked = { ...shortChat, model: 'fast', stream };
    const reply = await proxy.post('/v1/chat/completions', asked);
    t.is(reply.status, 200);
    t.regex(await reply.text(), stream ? /"content":"Ye"[\s\S]*\[DONE\]/ : /"content":"Yes\."/);
    t.is((await proxy.ask({ model: 'fast' })).answer.text, 'Yes.');
    t.is((await proxy.claude.messages.create({ ...shortMessages, model: 'one' })).model, 'two-v3');
    t.deepEqual(
      other.requests.map(({ model }) => model),
      ['two-v3', 'two-v3', 'two-v3'],
    );
    const events = await proxy.calls(2);
    t.like(events[0]?.data, { provider: 'far', outcome: 'ok', costUsd: 0.0005 });
    t.is(await proxy.metric('llm_fallbacks_total{'), 3);
  });

test('a stream that breaks before the client has any of it is tried again; after that it breaks as it did', async (t) => {
  await using system = await setUp(() => cutOff, { environment: { LLM_RETRIES: '1' } });
  const { proxy, other } = system;
  const asked = { ...shortChat, model: 'one', stream: true };
  const torn = await proxy.post('/v1/chat/completions', asked);
  await t.throwsAsync(torn.text());
  t.is(proxy.fake.requests.length, 1, 'the client had some of it');
  proxy.fake.play(() => ({ fault: 'reset' }));
  t.regex(await (await proxy.post('/v1/chat/completions', asked)).text(), /"content":"s\."/);
  t.is(proxy.fake.requests.length, 3);
  t.is(other.requests.length, 1);
  t.is(await proxy.metric('llm_retries_total{'), 1);
});

test('an answer of a fallback is not kept in the name of the model', async (t) => {
  let reply: FakeReply = no;
  await using system = await setUp(() => reply);
  const { proxy, other } = system;
  const asked = { ...shortChat, model: 'one', temperature: 0 };
  for (let count = 0; count < 2; count++) await proxy.openai.chat.completions.create(asked);
  for (let count = 0; count < 2; count++) await proxy.ask({ model: 'one', temperature: 0 });
  t.is(other.requests.length, 4);
  reply = yes;
  await proxy.openai.chat.completions.create(asked);
  t.is((await proxy.post('/v1/chat/completions', asked)).headers.get('x-toka-cache'), 'hit');
});

test('a limit of one endpoint sends the call on to the next', async (t) => {
  await using system = await setUp(() => yes);
  await system.write('[[limits]]\nby = "model"\nmatch = "one"\nrequests = 1\nwindow = 60\n');
  const { proxy, other } = system;
  await eventually(async () => {
    await proxy.ask({ model: 'fast' });
    return other.requests.length > 0;
  });
  const before = proxy.fake.requests.length;
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, model: 'fast' })).status, 200);
  t.is(proxy.fake.requests.length, before);
});

test('a file with a mistake is refused while it is served, and the models stay as they were', async (t) => {
  await using system = await setUp(() => yes);
  const { proxy } = system;
  await system.write('[[limits]]\nby = "nobody"\n');
  await eventually(async () => (await proxy.metric('llm_models_file_ok{')) === 0);
  t.is((await proxy.ask({ model: 'fast' })).answer.text, 'Yes.');
  await system.write('');
  await eventually(async () => (await proxy.metric('llm_models_file_ok{')) === 1);
});

test("a key's budget and its limit of tokens hold, by what calls took", async (t) => {
  await using system = await setUp(() => yes, { terms: { budget: { usd: 4.5, per: 'day' } } });
  const { proxy } = system;
  const ask = (headers = {}) => proxy.post('/v1/chat/completions', { ...shortChat, model: 'one' }, headers);
  // Each costs a dollar, which its estimate does not know.
  for (let count = 0; count < 5; count++) {
    t.is((await ask()).status, 200);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const refused = await ask();
  t.is(refused.status, 429);
  t.regex(await refused.text(), /budget of the key .*\(4\.5 US dollars a day, UTC\) is spent/);
  t.is(refused.headers.get('retry-after'), null);
  t.is(refused.headers.get('x-should-retry'), 'false');
  t.is(refused.headers.get('x-ratelimit-limit-usd'), '4.5');
  t.is(refused.headers.get('x-ratelimit-remaining-usd'), '0');
  t.regex(refused.headers.get('x-ratelimit-reset-usd') ?? '', /^\d+s$/);
  t.is((await proxy.post('/v1/chat/completions', { ...shortChat, model: 'gpt-unheard-of' })).status, 400);

  const { secret } = await proxy.mint({ limits: { tokens: 2_000, window: 60 } });
  const headers = { authorization: `Bearer ${secret}` };
  const small = { ...shortChat, model: 'one', max_tokens: 500 };
  const statuses: number[] = [];
  for (let count = 0; count < 3; count++) {
    statuses.push((await proxy.post('/v1/chat/completions', small, headers)).status);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.deepEqual(statuses, [200, 200, 429]);
  t.is((await proxy.post('/v1/chat/completions', { ...small, max_tokens: 5_000 }, headers)).status, 413);
});
