import test from 'ava';
import { commandKey } from '#shared/command.ts';
import { isKeyEvent } from '#shared/contracts/events.ts';
import { getKey, listKeys } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { hashOfSecret } from '#shared/secrets.ts';
import { facts } from '#test/helpers/events.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString();
const unknown = 'key_01ARZ3NDEKTSV4RRFFQ69G5FAV';

/** All that the log holds of keys, as text. */
const logged = async ({ bus }: Gateway) => JSON.stringify(await bus.read('key', '*'));

test('a key is minted with its secret shown once, read, listed and revoked', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const expiresAt = inAnHour();
  const body = {
    name: 'ci of docs',
    models: ['gpt-*', 'fast'],
    limits: { requests: 10, tokens: 5_000 },
    budget: { usd: 2.5, per: 'day' },
    workstream: 'docs',
    expiresAt,
  };
  const made = await call('POST', '/llm/keys', body);
  t.is(made.status, 201, made.text);
  const { secret, ...view } = made.json;
  t.regex(secret, /^toka_[A-Za-z0-9_-]{43}$/);
  t.is(made.headers.get('location'), `/llm/keys/${view.id}`);
  t.is(made.headers.get('cache-control'), 'no-store');
  const { id, createdAt, ...rest } = view;
  t.regex(id, /^key_[0-9A-Z]{26}$/);
  t.true(Math.abs(Date.now() - Date.parse(createdAt)) < 60_000);
  t.deepEqual(rest, {
    ...body,
    limits: { ...body.limits, window: 60 },
    owner: 'ann',
    revokedAt: null,
    state: 'active',
  });

  t.deepEqual((await call('GET', `/llm/keys/${id}`)).json, view);
  const minSeq = made.headers.get('toka-seq');
  t.deepEqual((await call('GET', `/llm/keys?minSeq=${minSeq}`)).json, { items: [view], nextCursor: null });
  const [event] = (await bus.read('key', id)).filter(isKeyEvent);
  t.like(event, { actor: 'user:ann', data: { hash: hashOfSecret(secret), owner: 'ann' } });
  const all = await logged(gateway);
  t.true(all.includes(hashOfSecret(secret)));
  t.false(all.includes(secret));

  const gone = await call('DELETE', `/llm/keys/${id}`);
  t.is(gone.status, 204);
  t.is(gone.text, '');
  const read = (await call('GET', `/llm/keys/${id}`)).json;
  t.like(read, { id, state: 'revoked' });
  t.truthy(read.revokedAt);
  const again = await call('DELETE', `/llm/keys/${id}`);
  t.is(again.status, 204, 'revoking it again is no error');
  t.is(again.headers.get('toka-seq'), gone.headers.get('toka-seq'), 'and adds nothing');
  const seq = Number(gone.headers.get('toka-seq'));
  t.deepEqual(await bus.ask(getKey, { id, minSeq: seq }), read, 'the archive says the same');
  t.deepEqual((await bus.ask(listKeys, { minSeq: seq })).items, [read]);
});

test('the least that one says is a name; the list shows no hash, and what has expired', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const { json } = await call('POST', '/llm/keys', { name: 'least', limits: null });
  t.like(json, { models: [], limits: null, budget: null, workstream: null, expiresAt: null, state: 'active' });
  const terms = {
    name: 'old',
    models: [],
    limits: null,
    budget: null,
    workstream: null,
    expiresAt: '2020-01-02T00:00:00Z',
  };
  const command = { type: 'mint', terms, hash: hashOfSecret('x'), owner: 'bob', nowMs: 0 } as const;
  const { seq } = await commandKey(bus, unknown, command, writer);
  const list = await call('GET', `/llm/keys?minSeq=${seq}`);
  t.false(/hash|secret|[0-9a-f]{64}/.test(list.text), list.text);
  t.deepEqual(
    list.json.items.map(({ name, state, owner }: Record<string, unknown>) => [name, state, owner]),
    [
      ['old', 'expired', 'bob'],
      ['least', 'active', 'ann'],
    ],
  );
});

test('an Idempotency-Key mints once, however many ask at a time; who lost the secret is told which key to revoke', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const mint = (once: string, authorization = `Bearer ${gateway.admin}`) =>
    call('POST', '/llm/keys', { name: 'ci' }, { 'idempotency-key': once, authorization });
  const answers = await Promise.all(Array.from({ length: 6 }, () => mint('k1')));
  t.deepEqual(answers.map(({ status }) => status).toSorted(), [201, 409, 409, 409, 409, 409]);
  const { id } = answers.find(({ status }) => status === 201)?.json ?? {};
  for (const { json } of answers.filter(({ status }) => status === 409)) {
    t.is(json.code, 'conflict');
    t.true(json.detail.includes(id), json.detail);
  }
  t.is((await bus.read('key', id)).length, 1);
  t.is((await call('DELETE', `/llm/keys/${id}`)).status, 204);
  t.is((await mint('k1')).status, 409, 'a key that was revoked does not come back');
  const other = await mint('k2');
  t.is(other.status, 201);
  t.not(other.json.id, id);
  t.is((await mint('a key')).json.detail, 'Idempotency-Key must be 1 to 200 visible characters');
});

test('keys are listed in pages, the newest first, whatever their ids', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const names = ['a', 'b', 'c', 'd', 'e'];
  let seq: string | null = null;
  for (const name of names) {
    // Every other one has an id that an Idempotency-Key made.
    const headers: Record<string, string> = names.indexOf(name) % 2 === 1 ? { 'idempotency-key': name } : {};
    seq = (await call('POST', '/llm/keys', { name }, headers)).headers.get('toka-seq');
  }
  const found: string[] = [];
  let query = `?limit=2&minSeq=${seq}`;
  for (;;) {
    const { json } = await call('GET', `/llm/keys${query}`);
    t.true(json.items.length <= 2);
    found.push(...json.items.map(({ name }: { name: string }) => name));
    if (json.nextCursor === null) break;
    query = `?limit=2&cursor=${json.nextCursor}`;
  }
  t.deepEqual(found, names.toReversed());
});

const noModel = 'must be 1 to 200 visible characters without spaces';
/** Method, path, body, status, detail. */
const bad: [string, string, unknown, number, string][] = [
  ['POST', '', undefined, 400, 'the body is missing'],
  ['POST', '', {}, 400, 'name is missing'],
  ['POST', '', { name: ' ' }, 400, 'name must not be empty'],
  ['POST', '', { name: 'x'.repeat(101) }, 400, 'name must be at most 100 characters'],
  ['POST', '', { name: 'a', model: [] }, 400, 'model is not a known field; did you mean "models"?'],
  ['POST', '', { name: 'a', models: 'gpt' }, 400, 'models must be a list in [ ], not "gpt"'],
  ['POST', '', { name: 'a', models: ['gpt', 'a b'] }, 400, `models.1 ${noModel}`],
  ['POST', '', { name: 'a', models: [''] }, 400, `models.0 ${noModel}`],
  ['POST', '', { name: 'a', limits: {} }, 400, 'limits must have "requests", "tokens" or both'],
  ['POST', '', { name: 'a', limits: { requests: 0 } }, 400, 'limits.requests must be at least 1'],
  ['POST', '', { name: 'a', limits: { tokens: 1.5 } }, 400, 'limits.tokens must be a whole number, not 1.5'],
  ['POST', '', { name: 'a', limits: { tokens: 1, window: 86_401 } }, 400, 'limits.window must be at most 86400'],
  ['POST', '', { name: 'a', budget: { usd: 0, per: 'day' } }, 400, 'budget.usd must be more than 0'],
  ['POST', '', { name: 'a', budget: { usd: 1, per: 'week' } }, 400, 'budget.per is "week"; it takes day, month'],
  ['POST', '', { name: 'a', budget: { usd: 1 } }, 400, 'budget.per is missing'],
  ['POST', '', { name: 'a', expiresAt: 'soon' }, 400, 'expiresAt must be a time such as "2027-01-31T12:00:00Z"'],
  ['POST', '', { name: 'a', expiresAt: '2020-01-01T00:00:00Z' }, 400, 'expiresAt must be in the future'],
  ['GET', '?cursor=x', undefined, 400, 'cursor must be a nextCursor that an earlier page gave'],
  ['GET', '/key_1', undefined, 400, 'id must be "key_" and a ULID'],
  ['DELETE', '/*', undefined, 400, 'id must be "key_" and a ULID'],
  ['GET', `/${unknown}`, undefined, 404, `there is no key "${unknown}"`],
  ['DELETE', `/${unknown}`, undefined, 404, 'there is no such key'],
];

test('bad input is answered with each field that is wrong, and mints nothing', async (t) => {
  await using gateway = await startGateway();
  const before = await gateway.bus.lastSeq();
  for (const [method, path, body, status, detail] of bad) {
    const answer = await gateway.call(method, `/llm/keys${path}`, body);
    t.is(answer.json.detail, detail);
    t.is(answer.status, status, detail);
    if (status === 400) t.true(answer.json.errors.length > 0, detail);
  }
  const several = { models: [7], limits: { requests: 0, tokens: 0 }, budget: { usd: -1 }, more: 1 };
  const { json } = await gateway.call('POST', '/llm/keys', several);
  const fields = json.errors.map(({ field }: { field: string }) => field);
  t.deepEqual(fields, ['name', 'models.0', 'limits.requests', 'limits.tokens', 'budget.usd', 'budget.per', 'more']);
  t.is(await gateway.bus.lastSeq(), before);
});

test('keys are for those with the scope admin', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const { id } = (await call('POST', '/llm/keys', { name: 'ci' })).json;
  const all = 'agents:read agents:write runs:read runs:write approvals:write events:read usage:read';
  const authorization = `Bearer ${await token(all)}`;
  const asked: [string, string, unknown][] = [
    ['POST', '/llm/keys', { name: 'x' }],
    ['GET', '/llm/keys', undefined],
    ['GET', `/llm/keys/${id}`, undefined],
    ['DELETE', `/llm/keys/${id}`, undefined],
  ];
  for (const [method, path, body] of asked) {
    const refused = await call(method, path, body, { authorization });
    t.is(refused.status, 403, `${method} ${path}`);
    t.is(refused.json.detail, 'the scope "admin" is missing from the token');
    t.is((await call(method, path, body, { authorization: '' })).status, 401, `${method} ${path}`);
  }
  t.is((await call('GET', `/llm/keys/${id}`)).json.state, 'active');
});

test('the API of keys is documented, the secret in the answer of the minting alone', async (t) => {
  await using gateway = await startGateway();
  for (const base of [gateway.url, gateway.management]) {
    const { paths, components } = (await gateway.call('GET', `${base}/openapi.json`)).json;
    const named = (schema: { $ref?: string }) => components.schemas[schema.$ref?.split('/').at(-1) ?? ''] ?? schema;
    t.deepEqual(Object.keys(paths['/llm/keys']).toSorted(), ['get', 'post']);
    t.deepEqual(Object.keys(paths['/llm/keys/{id}']).toSorted(), ['delete', 'get']);
    const answerOf = (path: string, method: string, status: string) =>
      named(paths[path][method].responses[status].content['application/json'].schema);
    t.truthy(answerOf('/llm/keys', 'post', '201').properties.secret);
    t.is(answerOf('/llm/keys/{id}', 'get', '200').properties.secret, undefined);
    t.is(answerOf('/llm/keys/{id}', 'get', '200').properties.hash, undefined);
    const schema = named(paths['/llm/keys'].post.requestBody.content['application/json'].schema);
    t.deepEqual(schema.required, ['name']);
    t.truthy(schema.properties.expiresAt.anyOf.some(({ format }: { format?: string }) => format === 'date-time'));
  }
});

test('usage adds up by key', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  const { id } = (await call('POST', '/llm/keys', { name: 'ci' })).json;
  let seq = 0;
  for (const key of [id, 'internal', id]) {
    const data = { ...facts, costUsd: 0.5, key, agentId: null, runId: null, outcome: 'ok' };
    seq = await bus.append(newEvent({ type: 'toka.llm.called.v1', data }, `llm/${key}`, writer));
  }
  const { json } = await call('GET', `/usage?by=key&minSeq=${seq}`);
  t.deepEqual(
    json.items.map(({ key, calls, costUsd }: Record<string, unknown>) => [key, calls, costUsd]),
    [
      [id, 2, 1],
      ['internal', 1, 0.5],
    ],
  );
});

test('a key is minted, read and revoked while the archive is away', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await gateway.stopStore();
  const { id } = (await call('POST', '/llm/keys', { name: 'ci' })).json;
  t.is((await call('GET', `/llm/keys/${id}`)).json.state, 'active');
  t.is((await call('DELETE', `/llm/keys/${id}`)).status, 204);
  t.is((await call('GET', `/llm/keys/${id}`)).json.state, 'revoked');
  t.is((await call('GET', '/llm/keys')).status, 503);
});
