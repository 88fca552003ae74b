import test from 'ava';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { sendRaw } from '#test/helpers/raw.ts';
import { Config } from '../../services/gateway/config.ts';

// A web page whose name is made to lead to this machine (DNS rebinding): to the browser inside, every answer is the page's own.

const open = ['/health', '/metrics', '/openapi.json', '/asyncapi.json', '/docs', '/nowhere'];

async function ask({ url }: Pick<Gateway, 'url'>, path: string, host: string, more = '') {
  const { status, text } = await sendRaw(url, [
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`,
  ]);
  return { status, text };
}

test('what needs no token is refused by a name that is not ours, and answered by those that are', async (t) => {
  await using gateway = await startGateway({ ALLOWED_HOSTS: 'toka.example.com, Toka.lan' });
  const management = { url: gateway.management };
  for (const host of [
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    'localhost@evil.example',
    '127.0.0.1.evil.example',
    'evil.example#localhost',
    'sub.toka.example.com',
    'toka.example.com.evil.example',
  ])
    for (const [at, paths] of [
      [gateway, open],
      [management, [...open, '/agents/status']],
    ] as const)
      for (const path of paths) {
        const { status, text } = await ask(at, path, host);
        t.true(status === 421 || status === 400, `${host} ${path}: ${status}`);
        t.notRegex(text, /toka_|openapi":|"items"|<html/i, path);
      }
  t.regex((await ask(gateway, '/metrics', 'evil.example')).text, /ALLOWED_HOSTS.*"code":"misdirected"/s);
  for (const host of [
    ...['localhost', 'localhost:8080', 'LOCALHOST', 'toka.localhost', '127.0.0.1:8080', '[::1]:8080', '10.1.2.3'],
    ...['gateway:8080', 'toka.example.com', 'toka.example.com.:443', 'toka.lan:8080'],
  ])
    t.is((await ask(gateway, '/health', host)).status, 200, host);
  const old = await sendRaw(gateway.url, ['GET /health HTTP/1.0\r\n\r\n']);
  t.is(old.status, 200, 'a check that is older than the header');
  t.is((await ask(gateway, '/agents', 'evil.example')).status, 401);
  const authorization = `Authorization: Bearer ${gateway.admin}\r\n`;
  t.is((await ask(gateway, '/agents', 'evil.example', authorization)).status, 200, 'no web page has a token');
  t.is((await gateway.call('GET', '/agents')).status, 200);
});

test('where anyone can make tokens, they keep no web page out: its name does', async (t) => {
  await using gateway = await startGateway({ TOKA_DEV: 'true', HOST: '127.0.0.1' });
  const authorization = `Authorization: Bearer ${gateway.admin}\r\n`;
  t.is((await ask(gateway, '/agents', 'evil.example', authorization)).status, 421);
  t.is((await ask(gateway, '/agents', 'localhost:8080', authorization)).status, 200);
});

test('names that are none are refused at the start', (t) => {
  const secrets = { JWT_SECRET: 'a-secret-of-the-tests-that-is-long-enough' };
  for (const names of ['https://toka.example.com', 'toka.example.com:443', '*.example.com', 'a b', ','])
    t.false(Config.safeParse({ ...secrets, ALLOWED_HOSTS: names }).success, names);
  t.deepEqual(Config.parse({ ...secrets, ALLOWED_HOSTS: 'A.example, b' }).ALLOWED_HOSTS, ['a.example', 'b']);
});

test('with PUBLIC_STATUS=false metrics need a token, which is limited to no workstream', async (t) => {
  await using gateway = await startGateway({ PUBLIC_STATUS: 'false' });
  const ask = (authorization: string) => gateway.call('GET', '/metrics', undefined, { authorization });
  const none = await ask('');
  t.is(none.status, 401);
  t.regex(none.json.detail, /usage:read/);
  t.is((await ask(`Bearer ${await token('runs:read')}`)).status, 403);
  const limited = await ask(`Bearer ${await token('admin', { claims: { workstreams: ['alpha'] } })}`);
  t.is(limited.status, 403);
  t.notRegex(limited.text, /toka_/);
  const whole = await ask(`Bearer ${await token('usage:read')}`);
  t.is(whole.status, 200);
  t.regex(whole.text, /^toka_http_requests_total/m);
  t.is((await gateway.call('GET', '/health', undefined, { authorization: '' })).status, 200);
});
