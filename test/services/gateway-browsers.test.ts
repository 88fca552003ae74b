import { gunzipSync } from 'node:zlib';
import test from 'ava';
import { startGateway } from '#test/helpers/gateway.ts';
import { sendRaw } from '#test/helpers/raw.ts';

const page = 'https://console.example.com';

test('scripts of the pages that are allowed may ask, those of others may not', async (t) => {
  await using gateway = await startGateway({ CORS_ORIGINS: `${page}, http://localhost:5173` });
  const { call } = gateway;
  const preflight = (origin: string) =>
    call('OPTIONS', '/agents', undefined, { authorization: '', origin, 'access-control-request-method': 'PUT' });
  const allowed = await preflight(page);
  t.is(allowed.status, 204);
  t.is(allowed.headers.get('access-control-allow-origin'), page);
  t.is(allowed.headers.get('access-control-allow-methods'), 'GET,HEAD,POST,PUT,DELETE');
  t.regex(allowed.headers.get('access-control-allow-headers') ?? '', /Authorization.*If-Match.*Idempotency-Key/);
  for (const [path, status] of [
    ['/agents', 200],
    ['/agents/nobody', 404],
    ['/nowhere', 404],
  ] as const) {
    const answer = await call('GET', path, undefined, { origin: 'http://localhost:5173' });
    t.is(answer.status, status);
    t.is(answer.headers.get('access-control-allow-origin'), 'http://localhost:5173');
    t.regex(answer.headers.get('access-control-expose-headers') ?? '', /ETag.*Toka-Seq/);
    t.is(answer.headers.get('access-control-allow-credentials'), null);
    t.regex(answer.headers.get('vary') ?? '', /Origin/);
  }
  for (const origin of ['https://evil.example', `${page}.evil.example`, 'null', page.toUpperCase()]) {
    for (const answer of [await preflight(origin), await call('GET', '/agents', undefined, { origin })])
      t.is(answer.headers.get('access-control-allow-origin'), null, origin);
  }
});

test('without a list no page may ask, and a list of what are no origins stops the start', async (t) => {
  await using gateway = await startGateway();
  const { headers } = await gateway.call('GET', '/agents', undefined, { origin: page });
  t.is(headers.get('access-control-allow-origin'), null);
  for (const CORS_ORIGINS of ['*', 'console.example.com', `${page}/`, `${page},`])
    await t.throwsAsync(startGateway({ CORS_ORIGINS }), { message: /^CORS_ORIGINS got .*must be origins such as/ });
});

test('large answers are compressed for who takes it; small ones and event streams are not', async (t) => {
  await using gateway = await startGateway();
  const encoding = async (path: string, accepts: string) => {
    const { headers, text } = await gateway.call('GET', path, undefined, { 'accept-encoding': accepts });
    t.true(text.length > 0);
    t.regex(headers.get('vary') ?? '', /Accept-Encoding/);
    return headers.get('content-encoding');
  };
  t.is(await encoding('/openapi.json', 'gzip, deflate, br, zstd'), 'br');
  t.is(await encoding('/openapi.json', 'gzip, deflate'), 'gzip');
  t.is(await encoding('/openapi.json', 'identity'), null);
  t.is(await encoding('/health', 'gzip, br'), null);
  for (const nothing of ['identity;q=0', '*;q=0', 'zstd, identity;q=0']) {
    t.is(await encoding('/openapi.json', nothing), null);
    t.is((await gateway.call('GET', '/openapi.json', undefined, { 'accept-encoding': nothing })).status, 200, nothing);
  }
  const head = async (accepts: string) =>
    (await gateway.call('HEAD', '/openapi.json', undefined, { 'accept-encoding': accepts })).headers.get(
      'content-length',
    );
  t.is(await head('gzip'), null, 'HEAD tells no length that GET would not have');
  t.is(await head('identity'), String(Buffer.byteLength((await gateway.call('GET', '/openapi.json')).text)));
  const stream = await fetch(`${gateway.url}/events?since=0`, {
    headers: { authorization: `Bearer ${gateway.admin}`, 'accept-encoding': 'gzip, br' },
  });
  t.is(stream.headers.get('content-encoding'), null);
  await stream.body?.cancel();

  const raw = await sendRaw(gateway.url, [
    'GET /openapi.json HTTP/1.0\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n',
  ]);
  const bytes = Buffer.from(raw.text.slice(raw.text.indexOf('\r\n\r\n') + 4), 'latin1');
  const whole = (await gateway.call('GET', '/openapi.json')).text;
  t.is(gunzipSync(bytes).toString(), whole);
  t.true(bytes.length < whole.length / 5);
});
