import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import { shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { sendRaw } from '#test/helpers/raw.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const names = ['one', 'two', 'three', 'org/four', 'five'];

async function setUp(terms: Record<string, unknown> = {}) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const text = names.map((name) => modelEntry(name, 'anthropic', 'max_output_tokens = 4096')).join('');
  const environment = { MODELS_FILE: await modelsFileIn(folder, `[aliases]\nfast = "one"\n${text}`) };
  const proxy = stack.use(await startHttpProxy('anthropic', { script: () => ({ text: 'Yes.' }), environment, terms }));
  const owned = stack.move();
  return { proxy, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('one model is told in the form of either wire, and one that there is not is not found', async (t) => {
  await using system = await setUp({ models: ['one', 'fast', 'org/*', 'claude-*'] });
  const { openai, claude } = system.proxy;
  for (const name of ['one', 'fast', 'org/four']) {
    t.deepEqual(await openai.models.retrieve(name), { id: name, object: 'model', created: 0, owned_by: 'anthropic' });
    t.like(await claude.models.retrieve(name), { type: 'model', id: name, display_name: name, max_tokens: 4_096 });
  }
  t.is((await openai.models.retrieve('claude-of-tomorrow')).id, 'claude-of-tomorrow', 'it may be asked for');
  for (const name of ['two', 'none', '%', '../../health']) {
    await t.throwsAsync(openai.models.retrieve(name), { instanceOf: OpenAI.NotFoundError, code: 'model_not_found' });
    await t.throwsAsync(claude.models.retrieve(name), { instanceOf: Anthropic.NotFoundError });
  }
  const bad = await fetch(`${system.proxy.url}/v1/models/%ff`, { headers: { 'x-api-key': system.proxy.key.secret } });
  t.is(bad.status, 400);
  t.is((await fetch(`${system.proxy.url}/v1/models/one`)).status, 401);
});

test("Anthropic's list comes in pages where a client asks for them", async (t) => {
  await using system = await setUp();
  const { claude, openai, key, url } = system.proxy;
  const all = ['one', 'fast', 'two', 'three', 'org/four', 'five'];
  const idsOf = (data: { id: string }[]) => data.map(({ id }) => id);
  t.deepEqual(idsOf((await openai.models.list()).data), all);
  t.deepEqual(idsOf((await claude.models.list()).data), all);
  t.deepEqual(idsOf((await claude.models.list({ limit: 1_000 })).data), all);
  t.deepEqual(idsOf(await Array.fromAsync(claude.models.list({ limit: 2 }))), all, 'the SDK turns the pages');
  const first = await claude.models.list({ limit: 2 });
  t.like(first, { has_more: true, first_id: 'one', last_id: 'fast' });
  const before = await claude.models.list({ limit: 2, before_id: 'three' });
  t.deepEqual(idsOf(before.data), ['fast', 'two']);
  t.true(before.has_more);
  const last = await claude.models.list({ limit: 2, after_id: 'five' });
  t.like(last, { data: [], has_more: false, first_id: null, last_id: null });
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after_id=none', 'before_id=none']) {
    const headers = { 'x-api-key': key.secret, 'anthropic-version': '2023-06-01' };
    const answer = await fetch(`${url}/v1/models?${query}`, { headers });
    t.is(answer.status, 400, query);
    t.true((await answer.text()).includes(query.split('=')[0] ?? ''));
  }
});

test('what GET serves has a head, and so has what Claude Code looks for at its start', async (t) => {
  await using system = await setUp();
  const { url, key } = system.proxy;
  const headers = { authorization: `Bearer ${key.secret}` };
  for (const path of ['/v1/models', '/v1/models/one', '/health', '/api/hello']) {
    const [get, head] = await Promise.all([
      fetch(url + path, { headers }),
      fetch(url + path, { headers, method: 'HEAD' }),
    ]);
    t.is(head.status, 200, path);
    t.is(head.headers.get('content-length'), get.headers.get('content-length'));
    t.is(await head.text(), '');
  }
  t.is((await fetch(`${url}/api/hello`, { method: 'HEAD' })).status, 200, 'without a key');
  t.is((await fetch(`${url}/v1/models`, { method: 'HEAD' })).status, 401);
  const wrong = await fetch(`${url}/v1/models`, { method: 'DELETE', headers });
  t.is(wrong.status, 405);
  t.is(wrong.headers.get('allow'), 'GET, HEAD');
});

test('a WebSocket is refused so that its client goes on with a plain request at once', async (t) => {
  await using system = await setUp();
  const { url, key, post } = system.proxy;
  const upgrade = [
    ...['GET /v1/responses HTTP/1.1', 'Host: x', `Authorization: Bearer ${key.secret}`, 'Connection: Upgrade'],
    ...['Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', '', ''],
  ].join('\r\n');
  const answer = await sendRaw(url, [upgrade]);
  t.is(answer.status, 426);
  t.true(answer.ms < 1_000, `${answer.ms} ms`);
  t.regex(answer.text, /\r\nupgrade: HTTP\/1\.1\r\n/i);
  t.regex(answer.text, /"error":\{"message":"there is no WebSocket here/);
  t.is((await fetch(`${url}/v1/responses`)).status, 405);
  t.is((await post('/v1/messages', { ...shortMessages, model: 'one' })).status, 200, 'it goes on');
});
