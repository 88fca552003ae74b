import test from 'ava';
import OpenAI from 'openai';
import { model, said, shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';

test('what is wrong with a request is told in the words of its wire', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => said, terms: { models: ['a-*'] } });
  const { post, url, openai } = proxy;
  const stranger = new OpenAI({ apiKey: 'toka_no', baseURL: `${url}/v1`, maxRetries: 0, logLevel: 'off' });
  await t.throwsAsync(stranger.chat.completions.create(shortChat), { instanceOf: OpenAI.AuthenticationError });
  const nobody = await fetch(`${url}/v1/messages`, { method: 'POST', body: '{}' });
  t.is(nobody.status, 401);
  t.like(await nobody.json(), { type: 'error', error: { type: 'authentication_error' } });
  const forbidden = { ...shortChat, model: 'b-model' };
  await t.throwsAsync(openai.chat.completions.create(forbidden), { instanceOf: OpenAI.PermissionDeniedError });
  t.is((await post('/v1/nothing', {})).status, 404);
  const wrong = await fetch(`${url}/v1/messages`);
  t.is(wrong.status, 405);
  t.is(wrong.headers.get('allow'), 'POST');
  for (const body of ['', '[]', '{"model":', '{"model":5}', '{"messages":[]}']) {
    const answer = await post('/v1/chat/completions', body);
    t.is(answer.status, 400, body);
    t.truthy(answer.headers.get('x-request-id'));
  }
  t.is((await post('/v1/messages/count_tokens', shortMessages)).status, 400);
  const large = await post('/v1/messages', `{"model":"${model}","x":"${'x'.repeat(33 * 1_024 * 1_024)}"}`);
  t.is(large.status, 413);
  t.like(await large.json(), { error: { type: 'request_too_large' } });
  t.is(proxy.fake.requests.length, 0);
  t.is((await post('/v1/chat/completions', shortChat)).status, 200, 'it goes on');
});

test('a key that may use some models cannot smuggle in another beside the one that is looked at', async (t) => {
  await using proxy = await startHttpProxy('openai', { script: () => said, terms: { models: [model] } });
  const body = `{"model":"dear-model","messages":[{"role":"user","content":"Hi"}],"model":"${model}"}`;
  t.is((await proxy.post('/v1/chat/completions', body)).status, 200);
  t.is(proxy.fake.requests[0]?.model, model);
  t.is((await proxy.post('/v1/chat/completions', body.replace(`"model":"${model}"`, '"model":"dear"'))).status, 403);
});

test("a key's limit of calls holds, and says when it may go on", async (t) => {
  await using proxy = await startHttpProxy('openai', {
    script: () => said,
    terms: { limits: { requests: 2, window: 60 } },
  });
  const answers = await Promise.all([1, 2, 3].map(() => proxy.post('/v1/chat/completions', shortChat)));
  t.deepEqual(answers.map(({ status }) => status).toSorted(), [200, 200, 429]);
  const refused = answers.find(({ status }) => status === 429);
  t.true(Number(refused?.headers.get('retry-after')) >= 1);
  t.is(refused?.headers.get('x-ratelimit-limit-requests'), '2');
  t.is(refused?.headers.get('x-ratelimit-remaining-requests'), '0');
  t.is(proxy.fake.requests.length, 2);
  const other = await proxy.mint();
  const headers = { authorization: `Bearer ${other.secret}` };
  t.is((await proxy.post('/v1/chat/completions', shortChat, headers)).status, 200, 'others are not touched');
});

test("a key's limit of tokens counts beforehand what a request only names", async (t) => {
  await using proxy = await startHttpProxy('openai', {
    script: () => said,
    terms: { limits: { requests: 100, tokens: 10_000, window: 60 } },
  });
  const body = { model, input: 'And then?', max_output_tokens: 10 };
  const content = [{ type: 'input_file', file_url: 'https://example.com/a.pdf' }];
  const refused = await proxy.post('/v1/responses', { ...body, input: [{ role: 'user', content }] });
  t.is(refused.status, 413, await refused.text());
  t.is((await proxy.post('/v1/responses', { ...body, max_output_tokens: 16 })).status, 200);
});
