import test from 'ava';
import { CompactEncrypt, exportJWK, exportSPKI, SignJWT } from 'jose';
import { eventually } from '#test/helpers/eventually.ts';
import { secret, startGateway } from '#test/helpers/gateway.ts';
import { makeKey, signed, startIssuer } from '#test/helpers/issuer.ts';

// Tokens that must open nothing, one by one; and beside each kind one that must, so that no case is refused for another reason.

const nowSeconds = () => Math.floor(Date.now() / 1000);
const right = { sub: 'ann', scope: 'admin', aud: 'toka', iss: 'https://issuer.example' };
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const bytesOf = (text: string) => new TextEncoder().encode(text);
const hs = (claims: object, alg = 'HS256', key: Uint8Array = bytesOf(secret), header = {}) =>
  new SignJWT({ exp: nowSeconds() + 3_600, ...claims }).setProtectedHeader({ alg, ...header }).sign(key);
const without = (name: string) => Object.fromEntries(Object.entries(right).filter(([key]) => key !== name));

test('tokens that are not good open nothing, and the gateway is well afterwards', async (t) => {
  const rsa = await makeKey('rsa-1', 'RS256');
  const ec = await makeKey('ec-1', 'ES256');
  const foreign = await makeKey('rsa-1', 'RS256');
  await using issuer = await startIssuer(rsa, ec);
  await using theirs = await startIssuer(foreign);
  await using gateway = await startGateway({
    JWT_JWKS_URL: issuer.url,
    JWT_AUDIENCE: 'toka',
    JWT_ISSUER: 'https://issuer.example',
  });
  const asks = async (authorization: string, path = '/agents') =>
    (await gateway.call('GET', path, undefined, { authorization })).status;
  const good = await hs(right);
  const [head = '', body = '', tail = ''] = good.split('.');
  const spki = await exportSPKI(rsa.publicKey);
  const jwk = await exportJWK(rsa.publicKey);
  const hour = { ...right, exp: nowSeconds() + 3_600 };

  for (const [what, token] of [
    ['HS256', good],
    ['RS256', await signed(rsa, right)],
    ['ES256', await signed(ec, right)],
    ['one audience of several', await hs({ ...right, aud: ['x', 'toka'] })],
    ['ended within the skew', await hs({ ...right, exp: nowSeconds() - 20 })],
  ] as const)
    t.is(await asks(`Bearer ${token}`), 200, what);

  const attacks: [string, string][] = [
    ['alg none', `${base64({ alg: 'none' })}.${base64(hour)}.`],
    ['alg None', `${base64({ alg: 'None' })}.${base64(hour)}.`],
    ['alg none with a signature', `${base64({ alg: 'none' })}.${base64(hour)}.${tail}`],
    ['no alg', `${base64({})}.${base64(hour)}.${tail}`],
    ['no signature', `${head}.${body}.`],
    ['other claims under a good signature', `${head}.${base64({ ...hour, sub: 'eve' })}.${tail}`],
    ["the public key's PEM as secret", await hs(right, 'HS256', bytesOf(spki))],
    ["the public key's JWK as secret", await hs(right, 'HS256', bytesOf(JSON.stringify(jwk)))],
    ["the public key's modulus as secret", await hs(right, 'HS256', Buffer.from(jwk.n ?? '', 'base64url'))],
    ['RS256 in the header of a secret', `${base64({ alg: 'RS256', kid: 'rsa-1' })}.${body}.${tail}`],
    ['HS384', await hs(right, 'HS384')],
    ['HS512', await hs(right, 'HS512')],
    ['another secret', await hs(right, 'HS256', bytesOf('another-secret-that-is-long-enough-too'))],
    ['an empty kid and another secret', await hs(right, 'HS256', bytesOf('\0'.repeat(32)), { kid: '../../dev/null' })],
    ['a key that is not known', await signed({ ...foreign, kid: 'rsa-9' }, right)],
    ["another's key by the name of ours", await signed(foreign, right)],
    ['a key that the token brings itself', await signed(foreign, right, { jwk: await exportJWK(foreign.publicKey) })],
    ['a place of keys that the token names', await signed({ ...foreign, kid: 'x' }, right, { jku: theirs.url })],
    ['a certificate that the token names', await signed({ ...foreign, kid: 'x' }, right, { x5u: theirs.url })],
    ['an RSA key by the name of an EC key', await signed({ ...rsa, kid: 'ec-1' }, right)],
    ['an extension that is not known', `${base64({ alg: 'HS256', crit: ['x'], x: 1 })}.${body}.${tail}`],
    ['ended', await hs({ ...right, exp: nowSeconds() - 60 })],
    ['not begun', await hs({ ...right, nbf: nowSeconds() + 3_600 })],
    ['without end', await new SignJWT(right).setProtectedHeader({ alg: 'HS256' }).sign(bytesOf(secret))],
    [
      'an end that is no number',
      await hs({ ...right, exp: '9999999999' as unknown as number }).catch(
        () => `${head}.${base64({ ...right, exp: 'x' })}.${tail}`,
      ),
    ],
    ['another audience', await hs({ ...right, aud: 'other' })],
    ['no audience', await hs(without('aud'))],
    ['another issuer', await hs({ ...right, iss: 'https://evil.example' })],
    ['no issuer', await hs(without('iss'))],
    ["nobody's", await hs(without('sub'))],
    ['a name with a line break', await hs({ ...right, sub: 'ann\nadmin' })],
    ['a name that turns the direction of writing', await hs({ ...right, sub: 'ann\u202enimda' })],
    ['scopes in a list', await hs({ ...right, scope: ['admin'] })],
    ['workstreams that are a text', await hs({ ...right, workstreams: 'alpha' })],
    ['workstreams that are null', await hs({ ...right, workstreams: null })],
    ['workstreams that are numbers', await hs({ ...right, workstreams: [1] })],
    [
      'encrypted with our secret',
      await new CompactEncrypt(bytesOf(JSON.stringify(hour)))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
        .encrypt(bytesOf(secret).slice(0, 32)),
    ],
    ['longer than tokens are', `${head}.${'A'.repeat(9_000)}.${tail}`],
    ['no token at all', 'null'],
  ];
  for (const [what, token] of attacks) {
    t.is(await asks(`Bearer ${token}`), 401, what);
    t.is(await asks(`Bearer ${good}`), 200, `after: ${what}`);
  }
  t.is(await asks(`Basic ${Buffer.from(`ann:${good}`).toString('base64')}`), 401, 'another scheme');
  t.is((await fetch(`${gateway.url}/agents?access_token=${good}`)).status, 401, 'in the query');
  t.is((await fetch(`${gateway.url}/agents`, { headers: { cookie: `token=${good}` } })).status, 401, 'in a cookie');
  t.is(await asks(`Bearer ${await hs({ ...right, scope: 'agents:read' })}`, '/audit/verify'), 403, 'too little scope');
  t.is(
    await asks(`Bearer ${await hs({ ...right, scope: 'Admin ADMIN admin:x' })}`),
    403,
    'scopes that look like another',
  );
});

test('keys are rotated: a new one counts within seconds, and one that is no longer shown counts no more', async (t) => {
  const old = await makeKey('1', 'ES256');
  const next = await makeKey('2', 'ES256');
  await using issuer = await startIssuer(old);
  await using gateway = await startGateway({ JWT_JWKS_URL: issuer.url, JWT_SECRET: '' });
  const claims = { sub: 'ann', scope: 'admin' };
  const asks = async (token: string) =>
    (await gateway.call('GET', '/agents', undefined, { authorization: `Bearer ${token}` })).status;
  t.is(await asks(await signed(old, claims)), 200);
  t.is(await asks(await hs(claims)), 401, 'no secret is set, so none counts');
  issuer.show(next);
  const token = await signed(next, claims);
  await eventually(async () => (await asks(token)) === 200);
  t.is(await asks(await signed(old, claims)), 401);
});

test('an issuer that does not answer is not taken for a bad token', async (t) => {
  const key = await makeKey('1', 'RS256');
  await using issuer = await startIssuer(key);
  issuer.fail();
  await using gateway = await startGateway({ JWT_JWKS_URL: issuer.url });
  const answer = await gateway.call('GET', '/agents', undefined, {
    authorization: `Bearer ${await signed(key, { sub: 'ann', scope: 'admin' })}`,
  });
  t.is(answer.status, 503);
  t.regex(answer.json.detail, /^the keys at JWT_JWKS_URL cannot be had/);
  t.is((await gateway.call('GET', '/agents')).status, 200, 'tokens by the secret work on');
});

test('settings that would let anyone make tokens are refused', async (t) => {
  for (const JWT_JWKS_URL of ['http://issuer.example/keys', 'file:///etc/passwd', 'ftp://127.0.0.1/keys'])
    await t.throwsAsync(startGateway({ JWT_JWKS_URL }), { message: /^JWT_JWKS_URL got .*must begin with https:/ });
  await t.throwsAsync(startGateway({ TOKA_DEV: '1', HOST: '0.0.0.0' }), {
    message: /^TOKA_DEV .*only with HOST=127\.0\.0\.1/,
  });
  await using gateway = await startGateway({ TOKA_DEV: '1', JWT_SECRET: 'short' });
  const authorization = `Bearer ${await hs({ sub: 'ann', scope: 'admin' }, 'HS256', bytesOf('short'))}`;
  t.is((await gateway.call('GET', '/agents', undefined, { authorization })).status, 200);
});
