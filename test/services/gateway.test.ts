import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import test from 'ava';
import { SignJWT } from 'jose';
import { openBus } from '#shared/bus/bus.ts';
import { newEvent } from '#shared/event.ts';
import { startService } from '#shared/service.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { freePort } from '#test/helpers/ports.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/gateway/config.ts';
import { start } from '../../services/gateway/main.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

const secret = 'a-secret-of-the-tests-that-is-long-enough';
const writer = { source: '/toka/test/1', actor: 'service:test' };

async function token(scope = 'admin', { key = secret, expires = '1h', alg = 'HS256' } = {}): Promise<string> {
  return new SignJWT({ scope })
    .setProtectedHeader({ alg })
    .setSubject('ann')
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(key));
}

async function setUp(environment: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const folder = stack.use(await temporaryFolder()).path;
  const [port, management] = [await freePort(), await freePort()];
  const env = {
    NATS_URL: nats.url,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: join(folder, 'toka.sqlite'),
    JWT_SECRET: secret,
    PORT: String(port),
    MANAGEMENT_PORT: String(management),
    ...environment,
  };
  stack.use(await startService('store', StoreConfig, startStore, env));
  stack.use(await startService('gateway', Config, start, env));
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const admin = await token();
  const url = `http://127.0.0.1:${port}`;
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${admin}`, 'content-type': 'application/json', ...headers },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : undefined;
    return { status: response.status, headers: response.headers, text, json };
  };
  const owned = stack.move();
  return {
    bus,
    nats,
    url,
    management: `http://127.0.0.1:${management}`,
    admin,
    call,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

test('an agent is created, read, replaced, paused, resumed and removed', async (t) => {
  await using all = await setUp();
  const { call } = all;
  const created = await call('POST', '/agents', agentInput());
  t.is(created.status, 201);
  t.is(created.headers.get('location'), '/agents/scout');
  t.like(created.json, { id: 'scout', origin: 'api', status: 'active' });
  t.is((await call('POST', '/agents', agentInput())).status, 409);
  const etag = created.headers.get('etag') ?? '';
  t.is((await call('GET', '/agents/scout')).headers.get('etag'), etag);
  const replaced = await call('PUT', '/agents/scout', agentInput({ version: '2.0.0' }), { 'if-match': etag });
  t.is(replaced.status, 200);
  t.is(replaced.json.spec.version, '2.0.0');
  const stale = await call('PUT', '/agents/scout', agentInput({ version: '3.0.0' }), { 'if-match': etag });
  t.is(stale.status, 412);
  t.regex(stale.json.detail, /is at version \d+ and no longer at \d+; read it again/);
  t.is((await call('POST', '/agents/scout/pause', {})).json.status, 'paused');
  t.is((await call('POST', '/agents/scout/resume')).json.status, 'active');
  const seq = replaced.headers.get('toka-seq');
  const list = await call('GET', `/agents?minSeq=${seq}&limit=10`);
  t.deepEqual(
    list.json.items.map(({ id }: { id: string }) => id),
    ['scout'],
  );
  t.is((await call('DELETE', '/agents/scout')).status, 204);
  t.is((await call('GET', '/agents/scout')).status, 404);
  t.is((await call('DELETE', '/agents/scout')).status, 404);
});

const without = (field: string) => {
  const { [field]: _, ...rest } = agentInput() as Record<string, unknown>;
  return rest;
};

const bad: [string, string, unknown, number, RegExp][] = [
  ['POST', '/agents', '{', 400, /^the body is not JSON: /],
  ['POST', '/agents', 'null', 400, /^the body must be/],
  ['POST', '/agents', [], 400, /^the body must be/],
  ['POST', '/agents', {}, 400, /name is missing/],
  ['POST', '/agents', without('objectives'), 400, /objectives is missing/],
  ['POST', '/agents', agentInput({ name: 'Not A Name' }), 400, /name .*must be 1 to 63 of a-z, 0-9 and "-"/],
  [
    'POST',
    '/agents',
    agentInput({ priority: 'urgent' as never }),
    400,
    /priority is "urgent"; it takes critical, high, medium, low/,
  ],
  [
    'POST',
    '/agents',
    { ...agentInput(), priorty: 'high' },
    400,
    /priorty is not a known field; did you mean "priority"\?/,
  ],
  ['POST', '/agents', agentInput({ objectives: [] }), 400, /objectives needs at least one objective/],
  ['POST', '/agents', agentInput({ schedule: 'every day' }), 400, /schedule is no cron line/],
  ['POST', '/agents', agentInput({ limits: { memory: 'much' } }), 400, /limits.memory must be a size such as "512MB"/],
  ['POST', '/agents', agentInput({ branch: '-b' }), 400, /branch must be a git branch name/],
  ['GET', '/agents/Bad%20Name', undefined, 400, /id must be 1 to 63 of/],
  ['GET', '/agents?limit=0', undefined, 400, /limit must be at least 1/],
  ['GET', '/agents?priority=urgent', undefined, 400, /priority is "urgent"; it takes critical, high, medium, low/],
  ['GET', '/agents?colour=red', undefined, 400, /colour is not a known field/],
  ['GET', '/agents?minSeq=x', undefined, 400, /minSeq /],
  ['GET', '/runs/run_1', undefined, 400, /id must be "run_" and a ULID/],
  ['GET', '/runs?status=lost', undefined, 400, /status is "lost"; it takes queued, dispatched/],
  ['GET', '/runs/run_01KAR0000000000000000000ZZ', undefined, 404, /there is no run "run_01KAR0000000000000000000ZZ"/],
  ['POST', '/runs/run_01KAR0000000000000000000ZZ/cancel', {}, 404, /there is no such run/],
  ['GET', '/events?subject=run', undefined, 400, /subject must be such as "run\/run_01…", or "run\/\*"/],
  ['GET', '/events?since=yesterday', undefined, 400, /since must be a number/],
  ['GET', '/events/999999', undefined, 404, /there is no event 999999/],
  ['GET', '/usage?by=colour', undefined, 400, /by is "colour"; it takes agent, run, model, day/],
  ['GET', '/nowhere', undefined, 404, /there is nothing at \/nowhere; see \/openapi.json/],
  ['PUT', '/agents', {}, 405, /PUT does not work at \/agents; .*POST/],
];

test('bad input is answered with each field that is wrong, and changes nothing', async (t) => {
  await using all = await setUp();
  for (const [method, path, body, status, detail] of bad) {
    const answer = await all.call(method, path, body);
    t.is(answer.status, status, `${method} ${path}: ${answer.text}`);
    t.is(answer.headers.get('content-type'), 'application/problem+json', path);
    t.regex(answer.json.detail, detail, `${method} ${path}`);
    t.is(answer.json.status, status);
  }
  t.deepEqual((await all.call('GET', '/agents')).json.items, []);
});

test('every wrong field of a body is named at once', async (t) => {
  await using all = await setUp();
  const body = { ...agentInput({ name: 'A', branch: '' }), limits: { max_steps: 0 } };
  const { json } = await all.call('POST', '/agents', body);
  const fields = json.errors.map(({ field }: { field: string }) => field);
  t.true(
    ['name', 'branch', 'limits.max_steps'].every((field) => fields.includes(field)),
    JSON.stringify(fields),
  );
});

test('a token must be signed, fresh, and have the scope', async (t) => {
  await using all = await setUp();
  const { call, bus } = all;
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{"sub":"x","exp":9999999999,"scope":"admin"}').toString('base64url')}.`;
  const cases: [string, number, RegExp][] = [
    ['', 401, /a token is needed/],
    ['Basic abc', 401, /a token is needed/],
    ['Bearer nonsense', 401, /the token is not valid/],
    [`Bearer ${unsigned}`, 401, /the token is not valid/],
    [
      `Bearer ${await token('admin', { key: 'another-secret-that-is-long-enough-too' })}`,
      401,
      /the token is not valid/,
    ],
    [`Bearer ${await token('admin', { expires: '-1h' })}`, 401, /the token has expired/],
    [`Bearer ${await token('runs:read')}`, 403, /the scope "agents:read" is missing from the token/],
  ];
  for (const [authorization, status, detail] of cases) {
    const answer = await call('GET', '/agents', undefined, { authorization });
    t.is(answer.status, status);
    t.regex(answer.json.detail, detail);
    t.truthy(answer.headers.get('www-authenticate'));
  }
  t.is(
    (await call('GET', '/agents', undefined, { authorization: `Bearer ${await token('agents:read')}` })).status,
    200,
  );
  const denied = await eventually(async () => {
    const { items } = await bus.ask((await import('#shared/contracts/store.ts')).listEvents, {
      type: 'toka.system.access-denied.v1',
    });
    return items.length >= 5 && items;
  });
  t.false(JSON.stringify(denied).includes('nonsense'));
  t.is((await call('GET', '/health', undefined, { authorization: '' })).status, 200);
});

test('a placeholder or short secret stops the gateway with a line that says how to make one', async (t) => {
  for (const JWT_SECRET of ['short', 'change-me-change-me-change-me-change-me', 'x'.repeat(40)])
    await t.throwsAsync(setUp({ JWT_SECRET }), { message: /JWT_SECRET got a value: .*openssl rand -base64 48/ });
});

test('a run is queued once for each idempotency key, and can be cancelled', async (t) => {
  await using all = await setUp();
  const { call } = all;
  await call('POST', '/agents', agentInput());
  const ask = (input: string, key: string) => call('POST', '/agents/scout/runs', { input }, { 'idempotency-key': key });
  const first = await ask('Say hello', 'k1');
  t.is(first.status, 202);
  t.like(first.json, { agentId: 'scout', kind: 'ad-hoc', status: 'queued', description: 'Say hello' });
  t.is((await ask('Say hello', 'k1')).json.id, first.json.id);
  t.not((await ask('Say hello', 'k2')).json.id, first.json.id);
  t.regex((await ask('Say goodbye', 'k1')).json.detail, /this Idempotency-Key was used for another run/);
  const path = `/runs/${first.json.id}`;
  t.is((await call('GET', path)).json.id, first.json.id);
  t.is((await call('POST', `${path}/cancel`, { reason: 'enough' })).json.status, 'cancelled');
  t.is((await call('POST', `${path}/cancel`)).json.error.message, 'enough');
  t.regex((await call('POST', '/agents/scout/runs', {})).json.detail, /must have either "input" or "objective"/);
  t.regex(
    (await call('POST', '/agents/scout/runs', { objective: 'x' })).json.detail,
    /objective "x" is none of this agent's; it has objective-1/,
  );
  const { json } = await call('GET', `${path}/events`);
  t.deepEqual(
    json.items.map(({ type }: { type: string }) => type),
    ['toka.run.queued.v1', 'toka.run.cancelled.v1'],
  );
});

test('a body that is too large is refused, however it is sent', async (t) => {
  await using all = await setUp({ BODY_BYTES_MAX: '2048' });
  const { call, url, admin } = all;
  t.is((await call('POST', '/agents', { name: 'x'.repeat(3_000) })).status, 413);
  const status = await new Promise<number>((resolve, reject) => {
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' };
    const request = httpRequest(`${url}/agents`, { method: 'POST', headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
    for (let index = 0; index < 30; index++) request.write('x'.repeat(100));
    request.end();
  });
  t.is(status, 413);
  t.is((await call('POST', '/agents', '{}', { 'content-type': 'text/plain' })).status, 415);
});

test('a stream that reconnects with Last-Event-ID misses nothing and doubles nothing', async (t) => {
  await using all = await setUp();
  const { bus, url, admin } = all;
  const total = 400;
  const appending = (async () => {
    for (let index = 0; index < total; index++) {
      const data = { service: 'test', instance: String(index), version: '1' };
      await bus.append(newEvent({ type: 'toka.system.started.v1', data }, 'system/mine', writer), undefined);
    }
  })();
  const seen: number[] = [];
  const instances: string[] = [];
  let connections = 0;
  let last = 0;
  while (instances.length < total) {
    connections += 1;
    const abort = new AbortController();
    const response = await fetch(`${url}/events?subject=system/mine`, {
      headers: { authorization: `Bearer ${admin}`, 'last-event-id': String(last) },
      signal: abort.signal,
    });
    t.is(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
    let text = '';
    let events = 0;
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const block of blocks) {
        const id = /^id: (\d+)$/m.exec(block)?.[1];
        if (!id) continue;
        last = Number(id);
        seen.push(last);
        instances.push(JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? '').data.instance);
        events += 1;
      }
      if (events > 60 || instances.length >= total) break;
    }
    abort.abort();
  }
  await appending;
  t.true(connections > 2);
  t.deepEqual(
    instances,
    Array.from({ length: total }, (_, index) => String(index)),
  );
  t.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
});

test('the API documents each of its routes, metrics come from all instances, and headers are safe', async (t) => {
  await using all = await setUp();
  const { call, management } = all;
  const { json } = await call('GET', '/openapi.json', undefined, { authorization: '' });
  t.is(json.openapi, '3.1.0');
  const operations = Object.values(json.paths as Record<string, Record<string, { operationId: string }>>).flatMap(
    Object.values,
  );
  t.is(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  t.true(operations.length >= 22, String(operations.length));
  const metrics = await call('GET', '/metrics', undefined, { authorization: '' });
  t.regex(metrics.text, /toka_archive_sequence\{[^}]*service="store"[^}]*\} [1-9]/);
  t.regex(metrics.text, /toka_http_requests_total\{[^}]*route="\/openapi.json"[^}]*\} 1/);
  t.is(metrics.headers.get('x-content-type-options'), 'nosniff');
  const status = (await call('GET', '/status')).json;
  t.deepEqual(
    status.services.map(({ service }: { service: string }) => service),
    ['gateway', 'store'],
  );
  t.deepEqual(status.missing, ['scheduler', 'agent-runner', 'llm-proxy']);
  await call('POST', '/agents', agentInput());
  const items = await eventually(async () => {
    const found = (await (await fetch(`${management}/agents/status`)).json()) as { items: object[] };
    return found.items.length > 0 ? found.items : undefined;
  });
  t.like(items[0], { id: 'scout', state: 'idle', works: { total: 1, completed: 0, failed: 0 } });
  t.is((await call('GET', '/audit/verify')).json.intact, true);
  t.deepEqual((await call('GET', '/usage?by=model')).json, { items: [] });
});
