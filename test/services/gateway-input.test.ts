import { request as httpRequest } from 'node:http';
import test from 'ava';
import { agentInput } from '#test/helpers/agents.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway } from '#test/helpers/gateway.ts';

const without = (field: string) => Object.fromEntries(Object.entries(agentInput()).filter(([name]) => name !== field));
const run = 'run_01KAR0000000000000000000ZZ';
const noName = 'must be 1 to 63 of a-z, 0-9 and "-", and start with a letter or a digit';
const noSeq = 'must be a whole number from 0 to 9007199254740991';
const statuses = 'queued, dispatched, running, waiting, paused, completed, failed, cancelled';
const [objective] = agentInput().objectives;

/** Method, path, body, status, detail. */
const bad: [string, string, unknown, number, string][] = [
  [
    'POST',
    '/agents',
    '{',
    400,
    "the body is not JSON: Expected property name or '}' in JSON at position 1 (line 1 column 2)",
  ],
  ['POST', '/agents', 'null', 400, 'the body must be a table (in JSON an object), not null'],
  ['POST', '/agents', '"scout"', 400, 'the body must be a table (in JSON an object), not "scout"'],
  ['POST', '/agents', [], 400, 'the body must be a table (in JSON an object), not []'],
  ['POST', '/agents', undefined, 400, 'the body is missing'],
  ['POST', '/agents', without('objectives'), 400, 'objectives is missing'],
  ['POST', '/agents', without('name'), 400, 'name is missing'],
  ['POST', '/agents', agentInput({ name: 'Not A Name' }), 400, `name ${noName}`],
  ['POST', '/agents', { ...agentInput(), name: 7 }, 400, 'name must be a text in quotes, not 7'],
  [
    'POST',
    '/agents',
    { ...agentInput(), priority: 'urgent' },
    400,
    'priority is "urgent"; it takes critical, high, medium, low',
  ],
  [
    'POST',
    '/agents',
    { ...agentInput(), priorty: 'high' },
    400,
    'priorty is not a known field; did you mean "priority"?',
  ],
  ['POST', '/agents', agentInput({ objectives: [] }), 400, 'objectives needs at least one objective'],
  [
    'POST',
    '/agents',
    { ...agentInput(), objectives: [{ ...objective, description: ' ' }] },
    400,
    'objectives.0.description must not be empty',
  ],
  ['POST', '/agents', agentInput({ limits: { max_steps: 0 } }), 400, 'limits.max_steps must be at least 1'],
  [
    'POST',
    '/agents',
    agentInput({ limits: { memory: 'much' } }),
    400,
    'limits.memory must be a size such as "512MB" or "1GB"',
  ],
  ['POST', '/agents', agentInput({ branch: '-b' }), 400, 'branch must be a git branch name'],
  ['POST', '/agents', agentInput({ branch: 'HEAD' }), 400, 'branch must be a git branch name'],
  ['POST', '/agents', `{"name":${'['.repeat(60)}${']'.repeat(60)}}`, 400, 'the body is nested more than 50 deep'],
  [
    'PUT',
    '/agents/scout',
    agentInput({ name: 'other' }),
    400,
    'name: an agent keeps its name "scout"; make a new agent instead',
  ],
  ['GET', '/agents/Bad%20Name', undefined, 400, `id ${noName}`],
  ['GET', '/agents/%E0%A4%A', undefined, 400, `id ${noName}`],
  ['GET', '/agents/scout?colour=red', undefined, 400, 'colour is not a known field; known are minSeq'],
  ['GET', '/agents?limit=0', undefined, 400, 'limit must be a whole number from 1 to 500'],
  ['GET', '/agents?limit=501', undefined, 400, 'limit must be a whole number from 1 to 500'],
  ['GET', '/agents?limit=1.5', undefined, 400, 'limit must be a whole number from 1 to 500'],
  ['GET', '/agents?limit=1&limit=2', undefined, 400, 'limit must be a whole number from 1 to 500'],
  ['GET', '/agents?priority=urgent', undefined, 400, 'priority is "urgent"; it takes critical, high, medium, low'],
  [
    'GET',
    '/agents?colour=red&size=1',
    undefined,
    400,
    'colour is not a known field; known are limit, cursor, minSeq, status, workstream, domain, priority; size is not a known field; known are limit, cursor, minSeq, status, workstream, domain, priority',
  ],
  ['GET', '/agents?minSeq=', undefined, 400, `minSeq ${noSeq}`],
  ['GET', '/agents?minSeq=-1', undefined, 400, `minSeq ${noSeq}`],
  ['GET', '/agents?minSeq=0x10', undefined, 400, `minSeq ${noSeq}`],
  ['POST', '/agents/nobody/pause', undefined, 404, 'there is no such agent'],
  ['POST', '/agents/scout/pause', { reason: '' }, 400, 'reason must not be empty'],
  ['POST', '/agents/scout/pause', { why: 'x' }, 400, 'why is not a known field; known are reason'],
  ['POST', '/agents/nobody/runs', { input: 'x' }, 404, 'there is no agent "nobody"'],
  ['POST', '/agents/scout/runs', undefined, 400, 'the body is missing'],
  ['POST', '/agents/scout/runs', {}, 400, 'the body must have either "input" or "objective"'],
  [
    'POST',
    '/agents/scout/runs',
    { input: 'x', objective: 'y' },
    400,
    'the body must have either "input" or "objective"',
  ],
  ['POST', '/agents/scout/runs', { input: 7 }, 400, 'input must be a text in quotes, not 7'],
  ['POST', '/agents/scout/runs', { input: '  ' }, 400, 'input must not be empty'],
  ['POST', '/agents/scout/runs', { input: 'x'.repeat(20_001) }, 400, 'input must be at most 20000 characters'],
  ['POST', '/agents/scout/runs', { objective: 'x' }, 400, 'objective "x" is none of this agent\'s; it has objective-1'],
  ['GET', '/runs/run_1', undefined, 400, 'id must be "run_" and a ULID'],
  ['GET', '/runs?status=lost', undefined, 400, `status is "lost"; it takes ${statuses}`],
  ['GET', '/runs?agent=Bad', undefined, 400, `agent ${noName}`],
  ['GET', `/runs/${run}`, undefined, 404, `there is no run "${run}"`],
  ['GET', `/runs/${run}/artifacts/a.md`, undefined, 404, `there is no run "${run}"`],
  ['GET', `/runs/${run}/events?cursor=x`, undefined, 400, 'cursor must be a nextCursor that an earlier page gave'],
  ['POST', `/runs/${run}/cancel`, {}, 404, 'there is no such run'],
  ['GET', '/events?subject=run', undefined, 400, 'subject must be such as "run/run_01…", or "run/*"'],
  [
    'GET',
    '/events?type=*',
    undefined,
    400,
    'type must be types such as "toka.run.completed.v1", or their beginnings and "*", with commas between',
  ],
  ['GET', '/events?since=yesterday', undefined, 400, `since ${noSeq}`],
  ['GET', '/events/0', undefined, 404, 'there is no event 0'],
  ['GET', '/events/999999', undefined, 404, 'there is no event 999999'],
  ['GET', '/events/abc', undefined, 400, `seq ${noSeq}`],
  ['GET', '/usage?since=yesterday', undefined, 400, 'since must be a day such as "2026-01-31"'],
  ['GET', '/runs?since=2026-01-31', undefined, 400, 'since must be a time such as "2026-01-31T06:00:00Z"'],
  ['GET', '/usage?by=colour', undefined, 400, 'by is "colour"; it takes agent, run, model, workstream, day, key'],
  ['GET', '/nowhere', undefined, 404, 'there is nothing at /nowhere; see /openapi.json'],
  ['PUT', '/agents', {}, 405, 'PUT does not work at /agents; HEAD, GET, POST do'],
  ['DELETE', '/events', undefined, 405, 'DELETE does not work at /events; HEAD, GET do'],
];

test('bad input is answered with what is wrong in it, and changes nothing', async (t) => {
  await using gateway = await startGateway();
  await gateway.call('POST', '/agents', agentInput());
  const before = await gateway.bus.lastSeq();
  for (const [method, path, body, status, detail] of bad) {
    const answer = await gateway.call(method, path, body);
    const what = `${method} ${path} ${answer.text}`;
    t.is(answer.status, status, what);
    t.is(answer.headers.get('content-type'), 'application/problem+json', what);
    t.is(answer.json.detail, detail);
    t.is(answer.json.status, status);
    t.is(answer.json.type, 'about:blank');
    if (status === 400) t.true(answer.json.errors.length > 0, what);
  }
  t.is(await gateway.bus.lastSeq(), before);
});

test('headers are checked as all else', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const cases: [string, string, unknown, Record<string, string>, number, string][] = [
    [
      'PUT',
      '/agents/scout',
      agentInput(),
      { 'if-match': '7' },
      400,
      'If-Match must be an ETag that GET gave, such as "17" in quotes',
    ],
    [
      'POST',
      '/agents/scout/runs',
      { input: 'x' },
      { 'idempotency-key': 'a key' },
      400,
      'Idempotency-Key must be 1 to 200 visible characters',
    ],
    ['GET', '/events', undefined, { 'last-event-id': 'x' }, 400, `Last-Event-ID ${noSeq}`],
    [
      'POST',
      '/agents',
      '{}',
      { 'content-type': 'text/plain' },
      415,
      'the body must be JSON, sent with "Content-Type: application/json"',
    ],
    ['POST', '/agents', '{}', { 'content-encoding': 'gzip' }, 415, 'the body must be sent without "Content-Encoding"'],
  ];
  for (const [method, path, body, headers, status, detail] of cases) {
    const answer = await call(method, path, body, headers);
    t.is(answer.status, status, detail);
    t.is(answer.json.detail, detail);
  }
  t.is(
    (await call('POST', '/agents/scout/pause', '{}', { 'content-type': 'application/merge-patch+json' })).status,
    200,
  );
});

test('every wrong field is named at once', async (t) => {
  await using gateway = await startGateway();
  const body = { ...agentInput({ name: 'A', branch: '' }), limits: { max_steps: 0, max_step: 1 } };
  const { json } = await gateway.call('POST', '/agents', body);
  t.deepEqual(json.errors, [
    { field: 'name', message: noName },
    { field: 'branch', message: 'must not be empty' },
    { field: 'branch', message: 'must be a git branch name' },
    { field: 'limits.max_steps', message: 'must be at least 1' },
    { field: 'limits.max_step', message: 'is not a known field; did you mean "max_steps"?' },
  ]);
});

test('a hostile body is refused in few words', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`field${index}`, 1]));
  for (const body of [deep, `{"name":${deep}}`, { name: { a: 'x'.repeat(900_000) } }, many]) {
    const answer = await call('POST', '/agents', body);
    t.is(answer.status, 400);
    t.true(answer.text.length < 40_000, `${answer.text.length} bytes`);
  }
  t.regex((await call('POST', '/agents', many)).json.detail, /; and 199\d\d more$/);
  const latin = await fetch(`${gateway.url}/agents`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.admin}`, 'content-type': 'application/json' },
    body: Buffer.from([0x22, 0xff, 0x22]),
  });
  t.is(latin.status, 400);
  t.regex(
    ((await latin.json()) as { detail: string }).detail,
    /^the body is not JSON: .*not valid for encoding utf-8$/,
  );
});

/** Sends a body without saying how long it is, until it is answered. */
const chunked = ({ url, admin }: Gateway, bytes: number) =>
  new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' };
    const request = httpRequest(`${url}/agents`, { method: 'POST', headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    request.on('error', reject);
    for (let sent = 0; sent < bytes; sent += 1_000) request.write('x'.repeat(1_000));
    request.end();
  });

test('a body that is too large is refused, however it is sent', async (t) => {
  await using gateway = await startGateway({ BODY_BYTES_MAX: '2048' });
  const { call } = gateway;
  const declared = await call('POST', '/agents', { name: 'x'.repeat(3_000) });
  t.is(declared.status, 413);
  t.is(declared.json.detail, 'the body has more than 2048 bytes');
  t.is(declared.headers.get('connection'), 'close');
  const { status, text } = await chunked(gateway, 3_000);
  t.is(status, 413, text);
  t.is((await chunked(gateway, 2_000)).status, 400, 'one that is small enough is read');
  t.is((await call('POST', '/agents', agentInput())).status, 201, 'the next request is served');
});
