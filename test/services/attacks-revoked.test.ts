import test from 'ava';
import { decodeJwt } from 'jose';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { secret, startGateway, token } from '#test/helpers/gateway.ts';
import { readEvents } from '#test/helpers/sse.ts';
import { toka } from '#test/helpers/toka.ts';

const made = (claims: Record<string, unknown>, sub = 'mallory') => token('admin', { sub, claims });

test('a token that was revoked counts on no gateway, from one that starts later on, too; nothing else is revoked with it', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const other = await gateway.another();
  const stolen = await made({ jti: 'stolen', iss: 'https://issuer.example' });
  const ask = async (bearer: string, url = gateway.url) =>
    (await call('GET', `${url}/agents`, undefined, { authorization: `Bearer ${bearer}` })).status;
  t.is(await ask(stolen), 200);
  const body = { jti: 'stolen', iss: 'https://issuer.example', reason: 'it was in a log' };
  const { status, headers } = await call('POST', '/tokens/revoke', body);
  t.is(status, 204);
  await eventually(async () => (await ask(stolen)) === 401);
  await eventually(async () => (await ask(stolen, other.url)) === 401);
  const refused = await call('GET', '/agents', undefined, { authorization: `Bearer ${stolen}` });
  t.regex(refused.json.detail, /^the token was revoked/);
  t.is(await ask(stolen, (await gateway.another()).url), 401);

  for (const claims of [{}, { jti: 'stolen' }, { jti: 'stolen', iss: 'https://another.example' }, { jti: 'another' }])
    t.is(await ask(await made(claims)), 200, JSON.stringify(claims));
  const again = await call('POST', '/tokens/revoke', body);
  t.deepEqual([again.status, again.headers.get('toka-seq')], [204, headers.get('toka-seq')]);
  const [event] = await bus.readAt([Number(headers.get('toka-seq'))]);
  t.like(event, {
    type: 'toka.token.revoked.v1',
    actor: 'user:ann',
    data: { jti: 'stolen', reason: 'it was in a log' },
  });
  t.false(JSON.stringify(event).includes(stolen.split('.')[2] ?? '-'));
});

test('what a revoked token has opened ends, on every gateway', async (t) => {
  await using gateway = await startGateway();
  const other = await gateway.another();
  const stolen = await made({ jti: 'stolen' });
  const streams = await Promise.all(
    [gateway.url, other.url].map((url) =>
      fetch(`${url}/events?since=0`, { headers: { authorization: `Bearer ${stolen}` } }),
    ),
  );
  const ended = streams.map(async (response) => {
    const seen: string[] = [];
    for await (const { data } of readEvents(response)) seen.push(String(data.subject));
    return seen;
  });
  await gateway.call('POST', '/tokens/revoke', { jti: 'stolen' });
  await Promise.all(ended);
  t.is((await gateway.call('POST', '/agents', agentInput())).status, 201);
  t.false((await Promise.all(ended)).flat().includes('agent/scout'));
});

test('whoever is limited revokes no token, not even their own, and nobody by a name that is none', async (t) => {
  await using gateway = await startGateway();
  const limited = await made({ jti: 'own', workstreams: ['alpha'] });
  const revoke = (bearer: string, body: unknown) =>
    gateway.call('POST', '/tokens/revoke', body, { authorization: `Bearer ${bearer}` });
  t.is((await revoke(limited, { jti: 'own' })).status, 403);
  t.is((await revoke(await token('runs:write agents:write'), { jti: 'x' })).status, 403);
  for (const body of [
    {},
    { jti: '' },
    { jti: 'x'.repeat(201) },
    { jti: 7 },
    { jti: 'x', sub: 'ann' },
    { jti: 'x', iss: '' },
  ])
    t.is((await revoke(gateway.admin, body)).status, 400, JSON.stringify(body));
  for (const jti of ['../../x', 'a.b.>', '*', ' ', '\u202e', '__proto__', 'a\r\nb'])
    t.is((await revoke(gateway.admin, { jti })).status, 204, 'any text is some token');
  t.is((await gateway.call('GET', '/agents')).status, 200);
  t.is((await revoke(limited, { jti: 'own' })).status, 403, 'and it still counts');
});

test('tokens of the command line have an id, and are revoked by it or by themselves', async (t) => {
  await using gateway = await startGateway();
  const environment = { TOKA_URL: gateway.url, JWT_SECRET: secret };
  const make = async () => (await toka(['token', '--sub', 'ci'], { environment })).out.trim();
  const tokens = [await make(), await make(), await make()];
  const ids = tokens.map((each) => String(decodeJwt(each).jti));
  t.is(new Set(ids).size, 3);
  const [first = '', , third = ''] = tokens;
  t.deepEqual(await toka(['token', 'revoke', first, '--reason', 'lost'], { environment }), {
    ...{ code: 0, out: '' },
    err: `revoked ${ids[0]}\n`,
  });
  t.is((await toka(['token', 'revoke', ids[1] ?? ''], { environment })).code, 0);
  const ask = async (bearer: string) =>
    (await gateway.call('GET', '/agents', undefined, { authorization: `Bearer ${bearer}` })).status;
  await eventually(async () => (await Promise.all(tokens.map(ask))).join() === '401,401,200');
  t.is(await ask(third), 200);
  const without = await toka(['token', 'revoke', await token()], { environment });
  t.not(without.code, 0);
  t.regex(without.err, /has no id/);
});
