import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { said, shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { keyOfTests, wires } from '#test/helpers/proxy.ts';

/** What came of an answer, and whether its connection broke. */
async function readTorn({ body }: Response): Promise<{ text: string; isTorn: boolean }> {
  let text = '';
  const decoder = new TextDecoder();
  try {
    for await (const part of body ?? []) text += decoder.decode(part, { stream: true });
    return { text, isTorn: false };
  } catch {
    return { text, isTorn: true };
  }
}

for (const wire of wires) {
  test(`a stream from ${wire} that is cut or ends early breaks on its own wire, and on the other is an error that clients try again`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script: () => ({ fault: 'cut' }) });
    for (const fault of ['cut', 'short'] as const) {
      proxy.fake.play(() => ({ fault }));
      const chat = await readTorn(await proxy.post('/v1/chat/completions', { ...shortChat, stream: true }));
      t.true(chat.text.includes('An answer'), 'what had come is passed on');
      t.is(chat.isTorn, wire === 'openai');
      const chatError = /\n\ndata: \{"error":\{"message":"the answer[^\n]+"type":"server_error"[^\n]+\}\n\n/;
      t.is(chatError.test(chat.text), wire === 'anthropic');
      const messages = await readTorn(await proxy.post('/v1/messages', { ...shortMessages, stream: true }));
      t.true(messages.text.includes('An answer'));
      t.is(messages.isTorn, wire === 'anthropic');
      const error = /event: error\ndata: \{"type":"error","error":\{"type":"overloaded_error"[^\n]+\}\}\n\n$/;
      t.is(error.test(messages.text), wire === 'openai');
      await t.throwsAsync(proxy.claude.messages.stream(shortMessages).finalMessage(), {
        instanceOf: Anthropic.AnthropicError,
      });
      const stream = await proxy.openai.chat.completions.create({ ...shortChat, stream: true });
      await t.throwsAsync(Array.fromAsync(stream));
    }
    t.deepEqual([...new Set((await proxy.calls(8)).map(({ data }) => data.outcome))], ['upstream']);
  });

  test(`a client that leaves a stream from ${wire} ends the call there, and it is in the ledger as cancelled`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script: () => ({ fault: 'stall' }) });
    for (const [path, body] of [
      ['/v1/chat/completions', shortChat],
      ['/v1/messages', shortMessages],
    ] as const) {
      const leave = new AbortController();
      const answer = await proxy.post(path, { ...body, stream: true }, {}, leave.signal);
      await answer.body?.getReader().read();
      leave.abort();
    }
    const events = await proxy.calls(2);
    t.deepEqual(
      events.map(({ data }) => data.outcome),
      ['cancelled', 'cancelled'],
    );
    if (wire === 'anthropic') t.is(events[0]?.data.usage.inputTokens, 10, 'what was told before counts');
    t.is(
      await eventually(async () => ((await proxy.metric('llm_requests_active{')) === 0 ? 'none' : undefined)),
      'none',
    );
  });
}

test("the provider's errors go through with their body and Retry-After on its own wire, and are translated on the other", async (t) => {
  const script = () => ({
    status: 429,
    headers: { 'retry-after': '7', 'x-ratelimit-limit-requests': '5', 'x-secret': 'no' },
  });
  await using proxy = await startHttpProxy('openai', { script });
  const same = await proxy.post('/v1/chat/completions', shortChat);
  t.is(same.status, 429);
  t.is(same.headers.get('retry-after'), '7');
  t.is(same.headers.get('x-ratelimit-limit-requests'), '5');
  t.is(same.headers.get('x-secret'), null);
  t.deepEqual(await same.json(), { error: { type: 'fake_error', message: "the fake's 429" } });
  const other = await t.throwsAsync(proxy.claude.messages.create({ ...shortMessages, model: 'another' }), {
    instanceOf: Anthropic.RateLimitError,
  });
  t.is(other?.headers?.get('retry-after'), '7');
  t.regex(other?.message ?? '', /rate_limit_error.*the fake's 429/);
  proxy.fake.play(() => ({ status: 400, message: `no such thing as ${keyOfTests}` }));
  const refused = await (await proxy.post('/v1/chat/completions', { ...shortChat, model: 'a-third' })).text();
  t.false(refused.includes(keyOfTests));
  t.true(refused.includes('no such thing as [secret]'));
});

test('an answer that is none, and a provider that is not there, are errors of the wire', async (t) => {
  await using proxy = await startHttpProxy('openai', {
    script: () => ({ fault: 'html' }),
    environment: { LLM_TIMEOUT: '3' },
  });
  for (const [fault, status] of [
    ['html', 502],
    ['malformed', 502],
    ['cut', 502],
    ['reset', 503],
    ['hang', 504],
  ] as const) {
    proxy.fake.play(() => ({ fault }));
    const answer = await proxy.post('/v1/chat/completions', shortChat);
    t.is(answer.status, status, fault);
    t.like(await answer.json(), { error: { type: 'server_error' } });
    t.is((await proxy.post('/v1/messages', shortMessages)).status, status, fault);
  }
  await proxy.fake[Symbol.asyncDispose]();
  t.is((await proxy.post('/v1/chat/completions', shortChat)).status, 503);
});

test('more calls than LLM_CONCURRENCY are sent away for a moment', async (t) => {
  const { promise, resolve } = Promise.withResolvers<FakeReply>();
  await using proxy = await startHttpProxy('openai', { script: () => promise, environment: { LLM_CONCURRENCY: '1' } });
  const first = proxy.post('/v1/chat/completions', shortChat);
  await eventually(() => proxy.fake.requests.length === 1);
  const second = await proxy.post('/v1/chat/completions', shortChat);
  t.is(second.status, 503);
  t.is(second.headers.get('retry-after'), '1');
  resolve(said);
  t.is((await first).status, 200);
});

test('calls at hand are finished when the service stops', async (t) => {
  const { promise, resolve } = Promise.withResolvers<FakeReply>();
  await using proxy = await startHttpProxy('openai', { script: () => promise });
  const first = proxy.post('/v1/chat/completions', shortChat);
  await eventually(() => proxy.fake.requests.length === 1);
  const stopping = proxy.proxies[0]?.[Symbol.asyncDispose]();
  resolve(said);
  t.is((await first).status, 200);
  await stopping;
  t.is((await proxy.calls(1)).length, 1, 'the ledger was written before the end');
  await t.throwsAsync(proxy.post('/v1/chat/completions', shortChat));
});
