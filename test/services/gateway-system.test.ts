import { request as httpRequest } from 'node:http';
import { connect as connectTcp } from 'node:net';
import test from 'ava';
import { connect } from 'nats';
import { Registry } from 'prom-client';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { facts } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

type Operation = {
  operationId: string;
  summary: string;
  description: string;
  security: { token: string[] }[];
  parameters: { name: string; in: string; required: boolean; schema: Record<string, unknown> }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses: Record<string, { description: string; content?: Record<string, object> }>;
};
type Document = {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object> };
};

const operationsOf = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );

test('the API is described as OpenAPI 3.1, each operation whole', async (t) => {
  await using gateway = await startGateway();
  const document: Document = (await gateway.call('GET', '/openapi.json')).json;
  t.is(document.openapi, '3.1.0');
  const operations = operationsOf(document);
  const ids = operations.map(({ operation }) => operation.operationId);
  t.is(new Set(ids).size, ids.length);
  for (const { method, path, operation } of operations) {
    const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const inPath = operation.parameters.filter((each) => each.in === 'path');
    t.deepEqual(
      inPath.map(({ name }) => name),
      named,
      `${method} ${path}`,
    );
    t.true(inPath.every(({ required }) => required));
    t.true(
      operation.parameters.every(({ schema }) => typeof schema.type === 'string' || 'enum' in schema),
      path,
    );
    t.truthy(operation.summary);
    t.deepEqual(
      operation.security.flatMap(({ token }) => token),
      [...operation.description.matchAll(/Needs the scope `(.*)`/g)].map(([, scope]) => scope),
    );
    const answers = Object.keys(operation.responses);
    t.true(answers.some((status) => /^2\d\d$/.test(status)));
    for (const status of ['400', '429', '500', '503']) t.true(answers.includes(status), `${method} ${path}`);
    t.is(answers.includes('401') && answers.includes('403'), operation.security.length > 0);
    const contents = [
      operation.requestBody?.content,
      ...Object.values(operation.responses).map(({ content }) => content),
    ];
    for (const content of contents)
      for (const media of Object.values(content ?? {})) t.true('example' in media, `${method} ${path} has an example`);
  }
  const refs = JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g);
  for (const [, ref = ''] of refs) {
    const found = ref
      .split('/')
      .slice(1)
      .reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], document);
    t.truthy(found, ref);
  }
  const of = (method: string, path: string) => document.paths[path]?.[method];
  t.deepEqual(
    of('put', '/agents/{id}')?.parameters.map(({ name }) => name),
    ['id', 'If-Match'],
  );
  t.deepEqual(
    of('get', '/agents')?.parameters.find(({ name }) => name === 'limit'),
    {
      name: 'limit',
      in: 'query',
      required: false,
      description: '100 unless it is given',
      schema: { type: 'integer', minimum: 1, maximum: 500 },
    },
  );
  t.deepEqual(of('post', '/agents')?.requestBody?.content['application/json']?.schema, {
    $ref: '#/components/schemas/AgentSpecInput',
  });
  t.regex(JSON.stringify(document.components.schemas.AgentSpecInput), /"objectives":\{.*"minItems":1/);
  t.deepEqual(Object.keys(of('put', '/agents/{id}')?.responses ?? {}), [
    ...['200', '400', '401', '403', '404', '408', '409', '412', '413', '415', '428', '429', '500', '503', '504', '507'],
  ]);
  t.true('422' in (of('post', '/agents')?.responses ?? {}));
});

test('each route of the description is served at both ports and takes the token that it says', async (t) => {
  await using gateway = await startGateway();
  for (const base of [gateway.url, gateway.management]) {
    const document: Document = (await gateway.call('GET', `${base}/openapi.json`)).json;
    for (const { method, path, operation } of operationsOf(document)) {
      const url = base + path.replace(/\{\w+\}/g, '1');
      const { status } = await fetch(url, { method });
      t.is(status, operation.security.length > 0 ? 401 : 200, `${method} ${url}`);
    }
    t.is('/agents/status' in document.paths, base === gateway.management);
  }
});

test('metrics are those of every instance, nothing of one added to another', async (t) => {
  await using gateway = await startGateway();
  const other = await gateway.another();
  for (let index = 0; index < 3; index++) await gateway.call('GET', '/agents');
  for (let index = 0; index < 5; index++) await gateway.call('GET', `${other.url}/agents`);
  const { text, headers } = await gateway.call('GET', '/metrics', undefined, { authorization: '' });
  t.is(headers.get('content-type'), new Registry().contentType);
  const samples = (name: string) =>
    text.split('\n').flatMap((line) => {
      const [, sample, labels = '', value] = /^(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
      return sample === name && labels.includes('service="gateway"') ? [{ labels, value: Number(value) }] : [];
    });
  const ofAgents = (name: string, also = '') =>
    samples(name)
      .filter(({ labels }) => labels.includes('route="/agents"') && labels.includes(also))
      .map(({ value }) => value)
      .toSorted();
  t.deepEqual(ofAgents('toka_http_requests_total', 'status="200"'), [3, 5]);
  t.deepEqual(ofAgents('toka_http_request_duration_seconds_count'), [3, 5]);
  t.deepEqual(ofAgents('toka_http_request_duration_seconds_bucket', 'le="+Inf"'), [3, 5]);
  const buckets = samples('toka_http_request_duration_seconds_bucket').filter(({ labels }) =>
    labels.includes('route="/agents"'),
  );
  for (const instance of new Set(buckets.map(({ labels }) => /instance="([^"]+)"/.exec(labels)?.[1]))) {
    const own = buckets.filter(({ labels }) => labels.includes(`instance="${instance}"`)).map(({ value }) => value);
    t.deepEqual(
      own,
      own.toSorted((a, b) => a - b),
      'buckets are cumulative',
    );
  }
  t.is(samples('process_start_time_seconds').length, 2);
  const types = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name);
  t.is(new Set(types).size, types.length, 'each metric is declared once');
  t.regex(text, /^toka_archive_sequence\{[^}]*service="store"[^}]*\} [1-9]/m);
});

test("nonsense on the metrics' and the health's subject does no harm", async (t) => {
  await using gateway = await startGateway();
  const nc = await connect({ servers: gateway.nats.url });
  for (const subject of ['toka.metrics', 'toka.health'])
    nc.subscribe(subject, { callback: (_, msg) => void msg.respond('{"name": 7}') });
  await nc.flush();
  t.is((await gateway.call('GET', '/metrics')).status, 200);
  t.is((await gateway.call('GET', '/status')).json.services.length, 2);
  await nc.close();
});

const scheduling = {
  leader: 'scheduler-1',
  session: { id: 'run_1', startedAt: 'x', queued: 4, completed: 1, failed: 1, progress: 0.5 },
  phase: 'high' as const,
  backlog: 2,
  slots: 8,
};

test('the status tells of services, archive, agents and runs', async (t) => {
  await using gateway = await startGateway();
  const { call, management, bus } = gateway;
  const made = await call('POST', '/agents', agentInput());
  await call('POST', '/agents', agentInput({ name: 'sleeper' }));
  await call('POST', '/agents/sleeper/pause');
  const seq = await bus.lastSeq();
  const agents = await call('GET', `${management}/agents/status?minSeq=${seq}`);
  t.like(agents.json.items, [
    { id: 'scout', state: 'idle', works: { total: 1, completed: 0, failed: 0 } },
    { id: 'sleeper', state: 'paused' },
  ]);
  // Who is slow to answer is not among them.
  const json = await eventually(async () => {
    const { json: now } = await call('GET', '/status');
    return now.services.length > 1 ? now : undefined;
  });
  t.deepEqual(
    json.services.map(({ service }: { service: string }) => service),
    ['gateway', 'store'],
  );
  t.like(json, {
    ready: false,
    missing: ['scheduler', 'agent-runner', 'llm-proxy'],
    agents: { idle: 1, paused: 1 },
    archive: { seq },
    runs: null,
  });
  // What a scheduler would answer.
  bus.answer(getScheduling, () => ({ ...scheduling, runs: { queued: 2 } }));
  const { scheduling: told } = await eventually(async () => {
    const { json: now } = await call('GET', '/status');
    return now.runs?.queued === 2 ? now : undefined;
  });
  t.deepEqual(told, scheduling);
  t.true(made.json.version < seq);
});

test('usage adds up what calls cost, and the chain of the archive is verified', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  let seq = 0;
  await call('POST', '/agents', agentInput());
  for (const [model, agentId] of [
    ['large', 'scout'],
    ['small', 'scout'],
    ['small', null],
  ] as const) {
    const data = { ...facts, model, key: 'internal', agentId, runId: null, outcome: 'ok' };
    seq = await bus.append(newEvent({ type: 'toka.llm.called.v1', data }, 'llm/internal', writer));
  }
  const { json } = await call('GET', `/usage?by=model&minSeq=${seq}`);
  t.deepEqual(
    json.items.map(({ key, calls, costUsd }: Record<string, unknown>) => [key, calls, costUsd]),
    [
      ['small', 2, 1],
      ['large', 1, 0.5],
    ],
  );
  const calls = async (query: string) =>
    (await call('GET', `/usage?${query}`)).json.items.map((row: { key: string; calls: number }) => [
      row.key,
      row.calls,
    ]);
  const today = new Date().toISOString().slice(0, 10);
  t.deepEqual(await calls('by=workstream'), [
    ['main', 2],
    ['', 1],
  ]);
  t.deepEqual(await calls(`by=day&since=${today}&until=${today}`), [[today, 3]]);
  t.deepEqual(await calls('by=day&until=2026-01-01'), []);
  const verified = await call('GET', '/audit/verify');
  t.like(verified.json, { intact: true, brokenAt: null });
  t.true(verified.json.checked >= seq);
  t.like((await call('GET', `/events/${seq}`)).json, { seq, type: 'toka.llm.called.v1' });
});

test('every answer has headers that keep browsers from guessing, framing and caching', async (t) => {
  await using gateway = await startGateway();
  for (const path of ['/health', '/nowhere', '/agents', '/metrics', '/openapi.json']) {
    const { headers } = await gateway.call('GET', path);
    t.is(headers.get('x-content-type-options'), 'nosniff', path);
    t.is(headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'", path);
    t.is(headers.get('cache-control'), 'no-store', path);
    t.is(headers.get('referrer-policy'), 'no-referrer', path);
    t.false(headers.has('x-powered-by'));
  }
});

test('health says whether NATS is there', async (t) => {
  await using gateway = await startGateway();
  const { nats, call } = gateway;
  t.like((await call('GET', '/health')).json, { status: 'ok' });
  await nats.kill();
  const away = await eventually(async () => {
    const answer = await call('GET', '/health');
    return answer.status === 503 ? answer : undefined;
  });
  t.like(away.json, { code: 'unavailable', detail: 'NATS is away', status: 503 });
  t.is(away.headers.get('retry-after'), '1');
  await nats.start();
  await eventually(async () => (await call('GET', '/health')).status === 200);
});

test('a stop finishes the request at hand, takes no new one, and waits for nobody who is idle', async (t) => {
  await using gateway = await startGateway();
  const { url, call } = gateway;
  const port = Number(new URL(url).port);
  const idle = connectTcp(port, '127.0.0.1'); // a connection that never asks
  idle.on('error', () => undefined);
  await call('GET', '/health'); // another that is kept alive
  const asked = new Promise<number | undefined>((resolve, reject) => {
    const headers = { authorization: `Bearer ${gateway.admin}`, 'content-type': 'application/json' };
    const request = httpRequest(`${url}/agents`, { method: 'POST', headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode));
    });
    request.on('error', reject);
    const body = JSON.stringify(agentInput());
    request.write(body.slice(0, 20));
    // The rest comes once the gateway is stopping.
    request.once('socket', () => void refused().then(() => request.end(body.slice(20)), reject));
  });
  const refused = () =>
    eventually(async () => {
      const socket = connectTcp(port, '127.0.0.1');
      const answer = await new Promise((resolve) =>
        socket.once('connect', () => resolve(false)).once('error', () => resolve(true)),
      );
      socket.destroy();
      return answer;
    });
  await eventually(async () => (await call('GET', '/health')).status === 200);
  const startedMs = performance.now();
  await gateway.stop();
  t.is(await asked, 201);
  t.true(performance.now() - startedMs < 10_000, `${performance.now() - startedMs} ms, and SHUTDOWN_GRACE is 20 s`);
});
