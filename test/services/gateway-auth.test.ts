import test from 'ava';
import { SignJWT } from 'jose';
import { listEvents } from '#shared/contracts/store.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { secret, startGateway, token } from '#test/helpers/gateway.ts';

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const claims = { sub: 'x', exp: 9_999_999_999, scope: 'admin' };
const key = new TextEncoder().encode(secret);
const needs = 'this needs a token with the scope "agents:read"';

test('a token must be signed with HS256 and our secret, be fresh, and have the scope', async (t) => {
  await using gateway = await startGateway();
  const expires = { exp: Math.floor(Date.now() / 1000) - 60 };
  const forged = `${(await token('agents:read')).split('.')[0]}.${base64(claims)}.${(await token('agents:read')).split('.')[2]}`;
  const none = 'there is no "Authorization: Bearer <token>"';
  const cases: [string, string | undefined, number, string][] = [
    ['no header', undefined, 401, `${none}; ${needs}`],
    ['another scheme', 'Basic abc', 401, `${none}; ${needs}`],
    ['two tokens', 'Bearer a b', 401, `${none}; ${needs}`],
    ['no JWT', 'Bearer nonsense', 401, `the token is not valid; ${needs}`],
    ['alg none', `Bearer ${base64({ alg: 'none' })}.${base64(claims)}.`, 401, `the token is not valid; ${needs}`],
    [
      'another key',
      `Bearer ${await token('admin', { key: 'another-secret-that-is-long-enough-too' })}`,
      401,
      `the token is not valid; ${needs}`,
    ],
    [
      'another algorithm with our key',
      `Bearer ${await token('admin', { alg: 'HS512' })}`,
      401,
      `the token is not valid; ${needs}`,
    ],
    ['other claims under a good signature', `Bearer ${forged}`, 401, `the token is not valid; ${needs}`],
    [
      'expired',
      `Bearer ${await new SignJWT({ ...claims, ...expires }).setProtectedHeader({ alg: 'HS256' }).sign(key)}`,
      401,
      `the token has expired; ${needs}`,
    ],
    [
      'never to expire',
      `Bearer ${await new SignJWT({ sub: 'x', scope: 'admin' }).setProtectedHeader({ alg: 'HS256' }).sign(key)}`,
      401,
      `the token lacks a claim that counts: exp; ${needs}`,
    ],
    [
      "nobody's",
      `Bearer ${await new SignJWT({ ...claims, sub: '' }).setProtectedHeader({ alg: 'HS256' }).sign(key)}`,
      401,
      `the token lacks a claim that counts: sub; ${needs}`,
    ],
    [
      'other scopes',
      `Bearer ${await token('runs:read agents:write')}`,
      403,
      'the scope "agents:read" is missing from the token',
    ],
    [
      'a scope that only begins so',
      `Bearer ${await token('agents:readonly')}`,
      403,
      'the scope "agents:read" is missing from the token',
    ],
  ];
  for (const [what, authorization, status, detail] of cases) {
    const response = await fetch(`${gateway.url}/agents`, { headers: authorization ? { authorization } : {} });
    t.is(response.status, status, what);
    t.is(((await response.json()) as { detail: string }).detail, detail, what);
    const challenge = response.headers.get('www-authenticate') ?? '';
    const error = status === 403 ? ', error="insufficient_scope"' : authorization ? ', error="invalid_token"' : '';
    t.is(challenge, `Bearer realm="toka", scope="agents:read"${error}`, what);
  }
});

test('each route takes its own scope, and admin has all', async (t) => {
  await using gateway = await startGateway();
  const run = '/runs/run_01KAR0000000000000000000ZZ';
  const cases: [string, string, string][] = [
    ['GET', '/agents/x', 'agents:read'],
    ['DELETE', '/agents/x', 'agents:write'],
    ['GET', run, 'runs:read'],
    ['POST', `${run}/cancel`, 'runs:write'],
    ['GET', '/events/999999', 'events:read'],
    ['GET', '/usage', 'usage:read'],
  ];
  const scopes = cases.map(([, , scope]) => scope);
  for (const [method, path, scope] of cases) {
    for (const granted of [scope, 'admin', `other:one ${scope}`]) {
      const authorization = `Bearer ${await token(granted)}`;
      const { status } = await gateway.call(method, path, undefined, { authorization });
      t.true(status === 200 || status === 404, `${method} ${path} with ${granted}: ${status}`);
    }
    const others = scopes.filter((each) => each !== scope).join(' ');
    const refused = await gateway.call(method, path, undefined, { authorization: `Bearer ${await token(others)}` });
    t.is(refused.json.detail, `the scope "${scope}" is missing from the token`);
  }
});

test('a body is not read before the token is', async (t) => {
  await using gateway = await startGateway();
  t.is((await gateway.call('POST', '/agents', '{', { authorization: 'Bearer nonsense' })).status, 401);
});

test('refusals become events, without the token and never so many that they fill the log', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  const authorization = 'Bearer some-token-that-is-wrong';
  await Promise.all(Array.from({ length: 100 }, () => call('GET', '/agents?key=hidden', undefined, { authorization })));
  const denied = await eventually(async () => {
    const { items } = await bus.ask(listEvents, { type: 'toka.system.access-denied.v1' });
    return items.length >= 20 ? items : undefined;
  });
  t.true(denied.length <= 25, `${denied.length} events`);
  t.like(denied[0], {
    subject: 'system/gateway',
    data: { method: 'GET', path: '/agents', code: 'unauthorized', detail: `the token is not valid; ${needs}` },
  });
  t.false(/some-token|hidden/.test(JSON.stringify(denied)));
});

test('health, metrics, the description and the agents at a glance need no token', async (t) => {
  await using open = await startGateway();
  for (const path of ['/health', '/metrics', '/openapi.json']) t.is((await fetch(open.url + path)).status, 200, path);
  t.is((await fetch(`${open.management}/agents/status`)).status, 200);
  t.is((await fetch(`${open.url}/agents/status`)).status, 401, 'only at the management port');
  await using closed = await startGateway({ PUBLIC_STATUS: 'false' });
  t.is((await fetch(`${closed.management}/agents/status`)).status, 401);
  t.is((await closed.call('GET', `${closed.management}/agents/status`)).status, 200);
});

test('a placeholder or short secret stops the gateway with a line that says how to make one', async (t) => {
  const how = 'make one with: openssl rand -base64 48';
  const placeholders = [
    'change-me-change-me-change-me-change-me',
    'x'.repeat(40),
    'your-secret-goes-here-your-secret-goes-here',
  ];
  for (const JWT_SECRET of placeholders)
    await t.throwsAsync(startGateway({ JWT_SECRET }), { message: `JWT_SECRET got a value: is a placeholder; ${how}` });
  await t.throwsAsync(startGateway({ JWT_SECRET: 'aB3-short' }), {
    message: `JWT_SECRET got a value: must have at least 32 characters; ${how}`,
  });
  await t.throwsAsync(startGateway({ JWT_SECRET: '' }), { message: 'JWT_SECRET is required and is not set' });
});
