import test from 'ava';
import { agentInput } from '#test/helpers/agents.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { sendRaw } from '#test/helpers/raw.ts';

// Requests that are meant to break something: each is refused with the right status, and the service is well after each.

const deep = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
const withAgent = (changes: object) => ({ ...agentInput({ name: 'other' }), ...changes });
const json = 'application/json';

/** Method, path, body, status, what the answer says. */
const bodies: [
  what: string,
  path: string,
  body: unknown,
  status: number,
  says: RegExp,
  headers?: Record<string, string>,
][] = [
  ['too many bytes', '/agents', 'x'.repeat(20_000), 413, /more than 16384 bytes/],
  ['nested deeply', '/agents', deep(60), 400, /nested more than 50 deep/],
  ['nested very deeply', '/agents', '['.repeat(8_000) + ']'.repeat(8_000), 400, /nested more than 50 deep/],
  ['__proto__', '/agents', '{"__proto__":{"isAdmin":true}}', 400, /^__proto__ is a name that no field may have/],
  ['__proto__ further down', '/agents', '{"limits":{"a":[{"__proto__":{}}]}}', 400, /^__proto__ is a name/],
  ['__proto__ in other letters', '/agents', '{"\\u005f_proto__":{}}', 400, /^__proto__ is a name/],
  [
    'constructor.prototype',
    '/agents',
    '{"constructor":{"prototype":{"a":1}}}',
    400,
    /^constructor\.prototype is a name/,
  ],
  [
    'a number beyond numbers',
    '/agents',
    JSON.stringify(withAgent({ limits: { max_cost_usd: 7 } })).replace(':7', ':1e999'),
    400,
    /max_cost_usd/,
  ],
  ['not UTF-8', '/agents', 'latin', 400, /not JSON/],
  ['a byte order mark and nothing', '/agents', '\ufeff', 400, /not JSON|missing/],
  [
    'half a pair of surrogates in a name',
    '/agents',
    JSON.stringify(withAgent({ domain: 'a' })).replace('"a"', '"\\ud800"'),
    400,
    /^domain must have no control/,
  ],
  [
    'a line break in a name',
    '/agents',
    withAgent({ workstream: 'main\r\nX: y' }),
    400,
    /^workstream must have no control/,
  ],
  ['a NUL in a name', '/agents', withAgent({ version: '1\0' }), 400, /^version must have no control/],
  [
    'a name that turns the direction of writing',
    '/agents',
    withAgent({ domain: 'a\u202eb' }),
    400,
    /^domain must have no control/,
  ],
  [
    'a name with what cannot be seen',
    '/agents',
    withAgent({ workstream: 'ma\u200bin' }),
    400,
    /^workstream must have no control/,
  ],
  ['an escape for terminals', '/llm/keys', { name: '\u001b[2J' }, 400, /^name must have no control/],
  [
    'a branch that is an option',
    '/agents',
    withAgent({ branch: '--upload-pack=x' }),
    400,
    /^branch must be a git branch name/,
  ],
  ['a name that is a path', '/agents', withAgent({ name: '../../etc' }), 400, /^name must be 1 to 63/],
  ['a name that is a subject', '/agents', withAgent({ name: 'a.>' }), 400, /^name must be 1 to 63/],
  ['a form', '/agents', 'name=x', 415, /must be JSON/, { 'content-type': 'application/x-www-form-urlencoded' }],
  [
    'text that a browser may send from anywhere',
    '/agents',
    '{}',
    415,
    /must be JSON/,
    { 'content-type': 'text/plain' },
  ],
  ['compressed', '/agents', '{}', 415, /without "Content-Encoding"/, { 'content-encoding': 'gzip' }],
  ['a key with spaces', '/agents/scout/runs', { input: 'x' }, 400, /^Idempotency-Key/, { 'idempotency-key': 'a b' }],
  ['a long key', '/agents/scout/runs', { input: 'x' }, 400, /^Idempotency-Key/, { 'idempotency-key': 'k'.repeat(201) }],
];

test('hostile bodies are refused, and the gateway is well after each', async (t) => {
  await using gateway = await startGateway({ BODY_BYTES_MAX: '16384' });
  await gateway.call('POST', '/agents', agentInput());
  const before = await gateway.bus.lastSeq();
  for (const [what, path, body, status, says, headers] of bodies) {
    const sent =
      body === 'latin' ? Buffer.from([0x22, 0xff, 0x22]) : typeof body === 'string' ? body : JSON.stringify(body);
    const response = await fetch(gateway.url + path, {
      method: 'POST',
      body: sent,
      headers: { authorization: `Bearer ${gateway.admin}`, 'content-type': json, ...headers },
    });
    const { detail } = (await response.json()) as { detail: string };
    t.is(response.status, status, `${what}: ${detail}`);
    t.regex(detail, says, what);
    t.is((await gateway.call('GET', '/agents/scout')).status, 200, `after: ${what}`);
  }
  t.is(({} as { isAdmin?: boolean }).isAdmin, undefined);
  t.is(await gateway.bus.lastSeq(), before, 'nothing was changed');
});

const head = ({ admin }: Gateway) => `Host: x\r\nConnection: close\r\nAuthorization: Bearer ${admin}\r\n`;
const get =
  (target: string, more = '') =>
  (gateway: Gateway) =>
    `GET ${target} HTTP/1.1\r\n${head(gateway)}${more}\r\n`;
const post = (more: string, body: string) => (gateway: Gateway) =>
  `POST /agents HTTP/1.1\r\n${head(gateway)}Content-Type: ${json}\r\n${more}\r\n${body}`;

/** The bytes of a request, and the statuses that are right for it; 0: the connection is closed without a word. */
const requests: [what: string, bytes: (gateway: Gateway) => string, statuses: number[]][] = [
  ['a path that climbs', get('/agents/../../../etc/passwd'), [404]],
  ['a path that climbs by other letters', get('/agents/%2e%2e/%2e%2e/etc/passwd'), [404]],
  ['an id that climbs', get('/agents/..%2f..%2fetc%2fpasswd'), [400]],
  ['an artifact that climbs', get('/runs/run_01KAR0000000000000000000ZZ/artifacts/..%2f..%2fetc%2fpasswd'), [404]],
  ['backslashes', get('/agents/..\\..\\etc'), [400, 404]],
  ['a NUL in the path', get('/agents/scout%00'), [400]],
  ['letters that are not UTF-8 in the path', get('/agents/%ff%fe'), [400]],
  ['line breaks in the path', get('/agents/a%0d%0aSet-Cookie:%20x=1'), [400]],
  ['line breaks in the query', get('/agents?cursor=%0d%0aSet-Cookie:%20x=1'), [200]],
  ['__proto__ in the query', get('/agents?__proto__=1'), [400]],
  ['__proto__ with brackets in the query', get('/agents?__proto__[admin]=1'), [400]],
  ['two slashes', get('//agents'), [404]],
  ['a whole URL of elsewhere', get('http://evil.example/nowhere'), [404]],
  ['a target that is none', get('*'), [400, 404]],
  ['a long path', get(`/agents/${'a'.repeat(20_000)}`), [431]],
  ['a long header', get('/agents', `X-Long: ${'a'.repeat(20_000)}\r\n`), [431]],
  ['many headers', get('/agents', 'X-Many: 1\r\n'.repeat(150)), [400]],
  ['a header with a bare line break', get('/agents', 'X-A: 1\rX-B: 2\r\n'), [400]],
  ['a header with a NUL', get('/agents', 'X-A: 1\0\r\n'), [400]],
  ['a header that is folded', get('/agents', 'X-A: 1\r\n folded\r\n'), [200, 400]],
  ['a space before the colon', get('/agents', 'Content-Length : 5\r\n'), [400]],
  ['no Host', () => 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n', [400]],
  ['two lengths', post('Content-Length: 2\r\nContent-Length: 40\r\n', '{}'), [400]],
  ['a length and chunks', post('Content-Length: 2\r\nTransfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'), [400]],
  ['chunks of another name', post('Transfer-Encoding: xchunked\r\n', '{}'), [400]],
  ['chunks that lie', post('Transfer-Encoding: chunked\r\n', 'zz\r\n{}\r\n'), [0, 400]],
  ['a negative length', post('Content-Length: -1\r\n', '{}'), [400]],
  ['a length beyond all', post('Content-Length: 99999999999999999999\r\n', '{}'), [400, 413]],
  ['another method by a header', get('/agents/scout', 'X-HTTP-Method-Override: DELETE\r\n'), [200]],
  ['TRACE', (gateway) => `TRACE /agents HTTP/1.1\r\n${head(gateway)}\r\n`, [405]],
  ['CONNECT', () => 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n', [0]],
  ['another protocol', () => 'GET / HTTP/3.7\r\nHost: x\r\n\r\n', [400]],
  ['HTTP/2 from the first byte', () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [0, 400]],
  ['TLS to a plain port', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', [0, 400]],
  ['no HTTP at all', () => 'SELECT * FROM agents;\r\n\r\n', [400]],
  ['an upgrade', get('/agents', 'Upgrade: websocket\r\n'), [200]],
  ['a place in the log that is none', get('/events', 'Last-Event-ID: 0x10\r\n'), [400]],
  ['a place before the log', get('/events', 'Last-Event-ID: -1\r\n'), [400]],
  ['a pattern that takes long', get(`/events?type=${'a'.repeat(99)}!`), [400]],
  ['a subject that is all', get('/events?subject=>'), [400]],
  [
    'two Authorization headers',
    (gateway) =>
      `GET /agents HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer x\r\nAuthorization: Bearer ${gateway.admin}\r\n\r\n`,
    [401],
  ],
];

test('hostile bytes are refused, and the gateway is well after each', async (t) => {
  await using gateway = await startGateway();
  await gateway.call('POST', '/agents', agentInput());
  const before = await gateway.bus.lastSeq();
  for (const [what, bytes, statuses] of requests) {
    const { status, text } = await sendRaw(gateway.url, [bytes(gateway)], { waitMs: 2_000 });
    t.true(statuses.includes(status), `${what}: ${status} ${text.slice(0, 300)}`);
    t.notRegex(text, /^set-cookie/im, what);
    t.notRegex(text, /root:|node_modules|at .*\.ts:/, what);
    t.is((await gateway.call('GET', '/agents/scout')).status, 200, `after: ${what}`);
  }
  t.true((await gateway.bus.lastSeq()) <= before + 1, 'nothing was changed; the refusal of a token is in the log');
});

test('whoever is slow with their headers is let go, and does not keep others waiting', async (t) => {
  await using gateway = await startGateway();
  const slow = Array.from({ length: 50 }, () =>
    sendRaw(gateway.url, ['GET /health HTTP/1.1\r\n', ...Array.from({ length: 40 }, () => 'X: y\r\n')], {
      everyMs: 700,
      waitMs: 40_000,
    }),
  );
  t.is((await gateway.call('GET', '/agents')).status, 200);
  for (const { status, ms } of await Promise.all(slow)) {
    t.is(status, 408);
    t.true(ms > 10_000 && ms < 25_000, `${ms} ms`);
  }
  t.is((await gateway.call('GET', '/agents')).status, 200);
});

test('whoever is slow with their body is let go, and what came of it changes nothing', async (t) => {
  await using gateway = await startGateway({ HTTP_REQUEST_TIMEOUT: '2' });
  const { admin } = gateway;
  const body = JSON.stringify(agentInput());
  const heads = [`Content-Length: ${body.length}\r\n`, 'Transfer-Encoding: chunked\r\n'];
  const slow = heads.flatMap((length) => {
    const head = `POST /agents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: ${json}\r\n${length}\r\n`;
    const pieces = [...body].map((letter) => (length.startsWith('T') ? `1\r\n${letter}\r\n` : letter));
    return Array.from({ length: 20 }, () => sendRaw(gateway.url, [head, ...pieces], { everyMs: 100, waitMs: 15_000 }));
  });
  t.is((await gateway.call('GET', '/agents')).status, 200);
  for (const { status, ms, text } of await Promise.all(slow)) {
    t.is(status, 408, text);
    t.true(ms > 1_500 && ms < 8_000, `${ms} ms`);
  }
  t.deepEqual((await gateway.call('GET', '/agents')).json.items, []);
  t.regex((await gateway.call('GET', '/metrics')).text, /toka_http_requests_total\{[^}]*status="408"[^}]*\} 40/);
});

test('a flood is answered with 429 before its bodies are read, and others are served', async (t) => {
  await using gateway = await startGateway({ HTTP_RATE_LIMIT_REQUESTS: '20', HTTP_RATE_LIMIT_WINDOW: '600' });
  const answers = [];
  for (let count = 0; count < 25; count++) answers.push(await gateway.call('POST', '/agents', '{not JSON'));
  t.deepEqual(
    answers.map(({ status }) => status),
    [...Array(20).fill(400), ...Array(5).fill(429)],
  );
  const [first, last] = [answers[0], answers.at(-1)];
  t.is(first?.headers.get('ratelimit-policy'), '"client";q=20;w=600');
  t.is(first?.headers.get('ratelimit'), '"client";r=19;t=30');
  t.regex(last?.headers.get('ratelimit') ?? '', /^"client";r=0;t=\d+$/);
  t.true(Number(last?.headers.get('retry-after')) >= 25);
  t.like(last?.json, { code: 'limited', status: 429 });
  const other = { authorization: `Bearer ${await token('admin', { sub: 'bob' })}` };
  t.is((await gateway.call('GET', '/agents', undefined, other)).status, 200, 'another client');
});

test('many bad tokens are told to wait, and a good one is not held up by them', async (t) => {
  await using gateway = await startGateway({ HTTP_RATE_LIMIT_REQUESTS: '1000' });
  const statuses: number[] = [];
  for (let count = 0; count < 80; count++)
    statuses.push((await gateway.call('GET', '/agents', undefined, { authorization: `Bearer guess-${count}` })).status);
  t.true(statuses.slice(0, 60).every((status) => status === 401));
  const told = statuses.slice(60).filter((status) => status === 429).length;
  t.true(told >= 10, `${told} of 20 are told to wait: one a second is let through again`);
  t.is((await gateway.call('GET', '/agents')).status, 200);
});

test('every answer says what a browser may do with it: nothing', async (t) => {
  await using gateway = await startGateway();
  for (const [path, authorization] of [
    ['/agents', `Bearer ${gateway.admin}`],
    ['/agents', 'none'],
    ['/nowhere', 'none'],
    ['/health', 'none'],
  ] as const) {
    const { headers } = await gateway.call('GET', path, undefined, { authorization });
    for (const [name, value] of Object.entries({
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'cross-origin-resource-policy': 'same-origin',
      'cross-origin-opener-policy': 'same-origin',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    }))
      t.is(headers.get(name), value, path);
    t.is(headers.get('x-powered-by'), null);
    t.is(headers.get('server'), null);
  }
});
