import type { IncomingHttpHeaders } from 'node:http';
import test from 'ava';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

const script = () => ({ text: 'unused' });
const bodies = {
  openai: '{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"content":"x"}}]}',
  anthropic:
    '{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{}}',
};

/** Through the wire of both sides. */
const throughBoth = {
  ...{ 'x-codex-turn-state': 'sticky', 'x-codex-window-id': 'w', 'session-id': 's', originator: 'codex_exec' },
  ...{ 'x-client-request-id': 'r', 'x-newer-than-this': 'n', 'anthropic-workspace-id': 'ws' },
};
const ofRequests = {
  ...throughBoth,
  ...{ 'user-agent': 'claude-cli/2.1', 'x-stainless-retry-count': '1', 'anthropic-user-profile-id': 'p' },
  ...{
    'openai-beta': 'responses=x',
    'x-claude-code-session-id': 'c',
    'x-app': 'cli',
    accept: 'application/json',
  },
};
const heldOfRequests = {
  ...{
    cookie: 'a=b',
    'x-api-key': 'sk-of-the-client',
    'api-key': 'k',
    'proxy-authorization': 'Basic x',
    'x-auth-token': 't',
  },
  ...{ 'x-forwarded-for': '10.0.0.7', 'x-forwarded-host': 'inside', forwarded: 'for=10.0.0.7', via: '1.1 inside' },
  ...{
    'x-real-ip': '10.0.0.7',
    'x-envoy-internal': 'true',
    'cdn-loop': 'cloudflare',
    'x-datadog-trace-id': '7',
    traceparent: '00-x',
    baggage: 'tenant=a',
  },
  ...{ 'openai-organization': 'org-of-the-client', 'openai-project': 'proj' },
  ...{ origin: 'https://a.example', referer: 'https://a.example/b', 'sec-fetch-mode': 'cors' },
  ...{
    'idempotency-key': 'one',
    'x-goog-user-project': 'p',
    'x-http-method-override': 'GET',
    'if-none-match': '"e"',
    'x-toka-cache': 'off',
    'cache-control': 'no-cache',
  },
  ...{ connection: 'keep-alive, x-for-this-hop', 'x-for-this-hop': '1', te: 'trailers' },
};
const ofAnswers = {
  ...throughBoth,
  ...{ 'openai-processing-ms': '12', 'openai-organization': 'org', 'anthropic-organization-id': 'o', 'cf-ray': 'ray' },
  ...{
    'x-request-id': 'req_1',
    'request-id': 'req_1',
    'x-ratelimit-remaining-tokens': '5',
    'x-amzn-requestid': 'a',
    'x-should-retry': 'true',
  },
};
const heldOfAnswers = {
  ...{ 'set-cookie': '__cf_bm=x; HttpOnly', server: 'uvicorn', via: '1.1 gpu-7', 'x-powered-by': 'Express' },
  ...{ 'x-envoy-upstream-service-time': '3', 'x-served-by': 'gpu-7', 'access-control-allow-origin': '*' },
  ...{ 'strict-transport-security': 'max-age=1', 'alt-svc': 'h3', etag: '"e"', 'www-authenticate': 'Bearer' },
  ...{ 'x-toka-max-output-tokens': '1', 'x-toka-cache': 'hit', location: 'http://gpu-7', link: '<http://gpu-7>' },
};

for (const [wire, path, body] of [
  ['openai', '/v1/chat/completions', shortChat],
  ['anthropic', '/v1/messages', shortMessages],
] as const)
  test(`headers go through to ${wire} and back, but for what is the connection's, secret or of the network`, async (t) => {
    let seen: IncomingHttpHeaders = {};
    let status = 200;
    await using raw = await startRaw((incoming, _, response) => {
      seen = incoming.headers;
      response.writeHead(status, { 'content-type': 'application/json', ...ofAnswers, ...heldOfAnswers });
      response.end(status === 200 ? bodies[wire] : '{"error":{"message":"no","type":"t"}}');
    });
    await using proxy = await startHttpProxy(wire, { script, environment: raw.environment });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingHttpHeaders>();
    const { request } = await import('node:http');
    const text = JSON.stringify(body);
    const headers = { ...ofRequests, ...heldOfRequests, authorization: `Bearer ${proxy.key.secret}` };
    const sending = request(`${proxy.url}${path}`, { method: 'POST', headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer.headers));
    });
    sending.once('error', reject).end(text);
    const answered = await promise;
    t.like(seen, ofRequests);
    for (const [name, value] of Object.entries(heldOfRequests)) t.not(seen[name], value, name);
    t.false(JSON.stringify(seen).includes(proxy.key.secret));
    t.is(seen['accept-encoding'], 'identity');
    t.like(answered, ofAnswers);
    for (const [name, value] of Object.entries(heldOfAnswers)) t.notDeepEqual([answered[name]].flat(), [value], name);
    status = 400;
    const refused = await proxy.post(path, body);
    t.is(refused.status, 400);
    t.is(refused.headers.get('x-codex-turn-state'), 'sticky');
    t.is(refused.headers.get('set-cookie'), null);
    const own = await proxy.post(path, {});
    t.is(own.status, 400);
    if (wire === 'anthropic') t.is(own.headers.get('request-id'), own.headers.get('x-request-id'));
  });

test("on another wire only what every client knows goes through, and the id of the provider's request", async (t) => {
  let seen: IncomingHttpHeaders = {};
  await using raw = await startRaw((incoming, _, response) => {
    seen = incoming.headers;
    response.writeHead(200, { 'content-type': 'application/json', ...ofAnswers, ...heldOfAnswers, 'request-id': '' });
    response.end(bodies.openai);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const answer = await proxy.post('/v1/messages', shortMessages, ofRequests);
  t.is(answer.status, 200);
  t.is(seen['x-codex-turn-state'], undefined);
  t.is(seen['anthropic-workspace-id'], undefined);
  t.is(answer.headers.get('x-request-id'), 'req_1');
  t.is(answer.headers.get('request-id'), 'req_1');
  t.is(answer.headers.get('openai-organization'), null);
  t.is(answer.headers.get('set-cookie'), null);
});

test('answers are kept apart by the headers that choose what a request means', async (t) => {
  let asked = 0;
  await using raw = await startRaw((_, __, response) => {
    asked++;
    response.setHeader('content-type', 'application/json').end(bodies.openai);
  });
  await using proxy = await startHttpProxy('openai', { script, environment: raw.environment });
  const ask = async (headers: Record<string, string>) =>
    (await proxy.post('/v1/chat/completions', { ...shortChat, temperature: 0 }, headers)).headers.get('x-toka-cache');
  t.is(await ask({ 'openai-beta': 'a' }), 'miss');
  t.is(await ask({ 'openai-beta': 'b' }), 'miss');
  t.is(await ask({ 'openai-beta': 'b', 'x-client-request-id': 'another' }), 'hit');
  t.is(asked, 2);
});
