import { connect } from 'node:net';
import test from 'ava';
import { countRuns } from '#shared/contracts/scheduling.ts';
import { startService } from '#shared/service.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { inside } from '#test/helpers/webhooks.ts';
import { Config } from '../../services/scheduler/config.ts';
import { start } from '../../services/scheduler/main.ts';

// What one tenant does to have all that there is for all of them. The other one is served while it does.

const bearer = async (workstream: string, sub = 'ci', iss?: string) => ({
  authorization: `Bearer ${await token('admin', { sub, claims: { workstreams: [workstream], ...(iss && { iss }) } })}`,
});

/** A gateway, a store and a scheduler, and an agent with a schedule in each of two workstreams. Nobody executes anything. */
async function open(stack: AsyncDisposableStack, environment: Record<string, string> = {}) {
  const gateway = stack.use(await startGateway(environment));
  const env = { NATS_URL: gateway.nats.url, METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent' };
  stack.use(await startService('scheduler', Config, start, { ...env, CONFIG_FILE: 'none' }));
  for (const workstream of ['alpha', 'beta']) {
    const agent = agentInput({ name: workstream, workstream, schedule: { cron: '0 * * * *', missed: 'skip' } });
    await gateway.call('POST', '/agents', agent);
    await gateway.call('POST', `/agents/${workstream}/pause`);
  }
  const [alpha, beta] = [await bearer('alpha'), await bearer('beta')];
  return { gateway, alpha, beta };
}

/** One run for each hour. */
const hours = (from: number, count: number) => ({
  from: new Date(Date.UTC(2026, 0, 1, from)).toISOString(),
  to: new Date(Date.UTC(2026, 0, 1, from + count - 1, 59)).toISOString(),
});

const openRuns = async ({ bus }: Gateway, workstream: string) =>
  (await bus.ask(countRuns, { workstream, actor: 'user:ci' })).workstream;

test('backfills of a paused agent are counted by their runs before the first is queued, and only its own workstream is full', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha, beta } = await open(stack, {
    BACKLOG_MAX: '400',
    BACKLOG_WORKSTREAM_MAX: '100',
    BACKLOG_CALLER_MAX: '100',
  });
  const backfill = (agent: string, from: number, count: number, headers: Record<string, string>) =>
    gateway.call('POST', `/agents/${agent}/backfill`, hours(from, count), headers);
  // All at once: no count of the scheduler's can know of them yet.
  const answers = await Promise.all(Array.from({ length: 12 }, (_, index) => backfill('alpha', index * 40, 40, alpha)));
  const taken = answers.filter(({ status }) => status === 202).length;
  t.is(taken, 2, 'eighty of a hundred; a third would be over');
  t.true(answers.every(({ status }) => status === 202 || status === 429));
  t.regex(
    answers.find(({ status }) => status === 429)?.json.detail,
    /workstream "alpha".*BACKLOG_(WORKSTREAM|CALLER)_MAX/,
  );
  await eventually(async () => (await openRuns(gateway, 'alpha')) === 80);
  t.is((await backfill('alpha', 2_000, 21, alpha)).status, 429, 'and it stays so when the scheduler knows');
  await eventually(async () => (await backfill('alpha', 2_000, 20, alpha)).status === 202);
  t.is((await gateway.call('POST', '/agents/alpha/runs', { input: 'x' }, alpha)).status, 429);

  t.is((await gateway.call('POST', '/agents/beta/runs', { input: 'x' }, beta)).status, 202, 'the other has its own');
  t.is((await backfill('beta', 0, 40, beta)).status, 202);
  const another = await bearer('beta', 'another');
  t.is((await gateway.call('POST', '/agents/beta/runs', { input: 'x' }, another)).status, 202);
});

test('a run that is queued and paused, or for later, or whose agent is replaced, takes a place as any other', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha, beta } = await open(stack, { BACKLOG_MAX: '40', BACKLOG_CALLER_MAX: '6' });
  const runAt = new Date(Date.now() + 86_400_000).toISOString();
  let taken = 0;
  for (let index = 0; index < 12; index++) {
    const { status, json } = await gateway.call('POST', '/agents/alpha/runs', { input: 'x', runAt }, alpha);
    if (status !== 202) continue;
    taken += 1;
    if (index % 2 === 0) await gateway.call('POST', `/runs/${json.id}/pause`, undefined, alpha);
  }
  t.true(taken > 0 && taken <= 6, `${taken}`);
  await eventually(async () => (await openRuns(gateway, 'alpha')) === taken);
  const many = Array.from({ length: 25 }, (_, index) => ({
    ...{ id: `o-${index}`, description: `d${index}`, deliverable: 'd.md', validation: 'v' },
  }));
  const more = agentInput({ name: 'alpha', workstream: 'alpha', objectives: many });
  t.is((await gateway.call('PUT', '/agents/alpha', more, alpha)).status, 429, 'more objectives than there is room for');
  t.is((await gateway.call('POST', '/agents', { ...more, name: 'other' }, alpha)).status, 429);
  t.is((await gateway.call('POST', '/agents/beta/runs', { input: 'x' }, beta)).status, 202);
});

test('how full another workstream is is told to nobody', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha } = await open(stack, { BACKLOG_MAX: '20', BACKLOG_WORKSTREAM_MAX: '8' });
  for (let index = 0; index < 9; index++) await gateway.call('POST', '/agents/beta/runs', { input: 'x' });
  const answer = await gateway.call('POST', '/agents', agentInput({ name: 'spy', workstream: 'beta' }), alpha);
  t.is(answer.status, 403, answer.text);
});

test("one tenant's requests use up no other's quota, though both are called the same", async (t) => {
  await using gateway = await startGateway({ HTTP_RATE_LIMIT_REQUESTS: '20', HTTP_RATE_LIMIT_WINDOW: '600' });
  const ask = async (headers: Record<string, string>) =>
    (await gateway.call('GET', '/agents', undefined, headers)).status;
  const alpha = await bearer('alpha');
  for (let count = 0; count < 20; count++) await ask(alpha);
  t.is(await ask(alpha), 429);
  t.is(await ask(await bearer('alpha')), 429, 'another token of the same client is no way around it');
  t.is(await ask(await bearer('beta')), 200);
  t.is(await ask(await bearer('alpha', 'ci', 'https://another.example')), 200, "another issuer's");
  t.is(await ask(await bearer('alpha', 'cd')), 200);
});

test("one tenant's streams take no other's places, though both are called the same", async (t) => {
  await using gateway = await startGateway({ SSE_CALLER_MAX: '3' });
  const stop = new AbortController();
  const stream = async (headers: Record<string, string>) =>
    (await fetch(`${gateway.url}/events`, { headers, signal: stop.signal })).status;
  const alpha = await bearer('alpha');
  t.deepEqual(
    await Promise.all([1, 2, 3, 4].map(() => stream(alpha))).then((all) => all.toSorted()),
    [200, 200, 200, 429],
  );
  t.is(await stream(await bearer('beta')), 200);
  stop.abort();
});

/** Begins requests whose bodies never end, each of `bytes`; answers the statuses that come. */
function unfinished({ url }: Gateway, authorization: string, count: number, bytes: number, head: string) {
  const { hostname, port } = new URL(url);
  const statuses: number[] = [];
  const sockets = Array.from({ length: count }, () => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    socket.once('data', (chunk) => statuses.push(Number(/^HTTP\/1\.1 (\d{3})/.exec(chunk.toString('latin1'))?.[1])));
    socket.write(
      `POST /agents HTTP/1.1\r\nHost: localhost\r\nAuthorization: ${authorization}\r\nContent-Type: application/json\r\n${head}\r\n`,
    );
    socket.write(head.startsWith('T') ? `${bytes.toString(16)}\r\n${' '.repeat(bytes)}` : ' '.repeat(bytes));
    return socket;
  });
  return { statuses, [Symbol.dispose]: () => sockets.forEach((socket) => void socket.destroy()) };
}

const KiB = 1024;
const bodies = {
  BODY_BYTES_MAX: `${256 * KiB}`,
  BODIES_BYTES_MAX: `${1024 * KiB}`,
  BODIES_CALLER_BYTES_MAX: `${512 * KiB}`,
};
const bytesHeld = async ({ call }: Gateway) =>
  Number(/^toka_http_body_bytes\{[^}]*\} (\d+)/m.exec((await call('GET', '/metrics')).text)?.[1]);

for (const [what, head] of [
  ['a length', `Content-Length: ${256 * KiB}\r\n`],
  ['chunks', 'Transfer-Encoding: chunked\r\n'],
] as const)
  test(`bodies with ${what} that never end take a bounded part of the memory, and leave room for others`, async (t) => {
    await using gateway = await startGateway(bodies);
    const { authorization } = await bearer('alpha');
    {
      using flood = unfinished(gateway, authorization, 40, 255 * KiB, head);
      await eventually(() => flood.statuses.length >= 37);
      t.true(
        flood.statuses.every((status) => status === 429),
        `${flood.statuses}`,
      );
      const held = await eventually(() => bytesHeld(gateway));
      t.true(held > 0 && held <= 512 * KiB, `${held}`);
      const text = JSON.stringify(agentInput({ name: 'beta', workstream: 'beta', instructions: 'x'.repeat(10_000) }));
      t.is((await gateway.call('POST', '/agents', text, await bearer('beta'))).status, 201, 'another is served');
      const whole = await gateway.call('POST', '/agents', 'x'.repeat(256 * KiB), await bearer('alpha'));
      t.is(whole.status, 429);
      t.regex(whole.json.detail, /bodies of yours/);
      t.is(whole.headers.get('connection'), 'close');
    }
    t.true(await eventually(async () => (await bytesHeld(gateway)) === 0), 'and all is given back');
    t.is((await gateway.call('POST', '/agents', agentInput(), { authorization })).status, 403);
  });

test('many callers together take no more than there is for bodies, and what needs none is served', async (t) => {
  await using gateway = await startGateway(bodies);
  await using stack = new AsyncDisposableStack();
  const floods: ReturnType<typeof unfinished>[] = [];
  for (const sub of ['a', 'b', 'c', 'd']) {
    const { authorization } = await bearer('alpha', sub);
    const flood = unfinished(gateway, authorization, 2, 100 * KiB, `Content-Length: ${256 * KiB}\r\n`);
    stack.defer(() => flood[Symbol.dispose]());
    floods.push(flood);
  }
  await eventually(() => floods.flatMap(({ statuses }) => statuses).length === 4);
  t.true(floods.flatMap(({ statuses }) => statuses).every((status) => status === 503));
  t.is(await eventually(() => bytesHeld(gateway)), 1024 * KiB);
  t.is((await gateway.call('GET', '/agents')).status, 200);
  const refused = await gateway.call('POST', '/agents', agentInput());
  t.is(refused.status, 503);
  t.is(refused.headers.get('retry-after'), '1');
});

test("one tenant's webhooks leave places, and tries, for the other's", async (t) => {
  await using receiver = await startReceiver(() => undefined);
  await using gateway = await startGateway({ ...inside, WEBHOOKS_MAX: '4', WEBHOOK_TIMEOUT: '3' });
  const [alpha, beta] = [await bearer('alpha'), await bearer('beta')];
  const make = (headers: Record<string, string>) => gateway.call('POST', '/webhooks', { url: receiver.url }, headers);
  const made = [await make(alpha), await make(alpha), await make(alpha)];
  t.deepEqual(
    made.map(({ status }) => status),
    [201, 201, 409],
  );
  t.regex(made[2]?.json.detail, /workstream "alpha" has 2 webhooks, half/);
  const hers = await make(beta);
  t.is(hers.status, 201, hers.text);
  const tries = Array.from({ length: 8 }, () =>
    gateway.call('POST', `/webhooks/${made[0]?.json.id}/test`, undefined, alpha),
  );
  const theirs = gateway.call('POST', `/webhooks/${hers.json.id}/test`, undefined, beta);
  const statuses = (await Promise.all(tries)).map(({ status }) => status).toSorted();
  t.deepEqual(statuses, [200, 200, 200, 200, 429, 429, 429, 429]);
  t.is((await theirs).status, 200);
});
