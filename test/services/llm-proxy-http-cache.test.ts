import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';

test('answers are kept where they may be, whole and streamed, for one key and for nobody else', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => ({ text: 'Kept.' }) });
  for (const stream of [false, true]) {
    const body = { ...shortChat, temperature: 0, stream };
    const first = await proxy.post('/v1/chat/completions', body);
    const text = await first.text();
    t.is(first.headers.get('x-toka-cache'), 'miss');
    const second = await proxy.post('/v1/chat/completions', body);
    t.is(second.headers.get('x-toka-cache'), 'hit');
    t.truthy(second.headers.get('age'));
    t.is(second.headers.get('content-type'), first.headers.get('content-type'));
    t.is(await second.text(), text);
  }
  t.is(proxy.fake.requests.length, 2);
  const other = await proxy.mint();
  const headers = { authorization: `Bearer ${other.secret}` };
  const theirs = await proxy.post('/v1/chat/completions', { ...shortChat, temperature: 0 }, headers);
  t.is(theirs.headers.get('x-toka-cache'), 'miss');
  const without = await proxy.post('/v1/chat/completions', shortChat);
  t.is(without.headers.get('x-toka-cache'), 'bypass');
  const events = await proxy.calls(5);
  t.deepEqual(
    events.map(({ data }) => data.cache),
    ['miss', 'hit', 'miss', 'hit', 'bypass'],
  );
  t.is(events[1]?.data.costUsd, 0);
});

test('equal questions at the same time are one call, which goes on though the client who began it has left', async (t) => {
  const { promise, resolve } = Promise.withResolvers<FakeReply>();
  await using proxy = await startHttpProxy('anthropic', { script: () => promise });
  const body = { ...shortMessages, temperature: 0, stream: true };
  const leave = new AbortController();
  const first = t.throwsAsync(proxy.post('/v1/messages', body, {}, leave.signal));
  await eventually(() => proxy.fake.requests.length === 1);
  const second = proxy.post('/v1/messages', body);
  await new Promise((done) => setTimeout(done, 300));
  leave.abort();
  await first;
  t.is(await proxy.metric('llm_requests_active{'), 1);
  resolve({ text: 'For the second.' });
  const answer = await second;
  t.is(answer.headers.get('x-toka-cache'), 'coalesced');
  const text = await answer.text();
  t.true(text.includes('second.') && text.includes('message_stop'));
  t.is(proxy.fake.requests.length, 1);
  t.deepEqual((await proxy.calls(2)).map(({ data }) => data.cache).toSorted(), ['coalesced', 'miss']);
});
