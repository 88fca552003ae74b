import test from 'ava';
import { SignJWT } from 'jose';
import { listEvents } from '#shared/contracts/store.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { secret, startGateway } from '#test/helpers/gateway.ts';
import { readEvents } from '#test/helpers/sse.ts';
import type { Workstream } from '#test/helpers/two-workstreams.ts';
import { fill } from '#test/helpers/two-workstreams.ts';

// What a token that is limited to the workstream "alpha" must not learn or do of "beta". All that is beta's has the word "hush" in it.

const limitedTo = (...workstreams: string[]) =>
  new SignJWT({ scope: 'admin', workstreams })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('eve')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));

type Attack = [method: string, path: string, status: number, body?: unknown];

const byId = ({ agent, run, approval, memory, key, event }: Workstream): Attack[] => [
  ['GET', `/agents/${agent}/memories`, 404],
  ['DELETE', `/agents/${agent}/memories/${memory}`, 404],
  ['GET', `/agents/${agent}`, 404],
  ['PUT', `/agents/${agent}`, 404, agentInput({ name: agent, workstream: 'alpha' })],
  ['DELETE', `/agents/${agent}`, 404],
  ['POST', `/agents/${agent}/pause`, 404],
  ['POST', `/agents/${agent}/resume`, 404],
  ['POST', `/agents/${agent}/runs`, 404, { input: 'x' }],
  ['POST', `/agents/${agent}/backfill`, 404, { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' }],
  ['GET', `/runs/${run}`, 404],
  ['GET', `/runs/${run}/artifacts`, 404],
  ['GET', `/runs/${run}/artifacts/a.md`, 404],
  ['GET', `/runs/${run}/diff`, 404],
  ['POST', `/runs/${run}/cancel`, 404],
  ['POST', `/runs/${run}/pause`, 404],
  ['POST', `/runs/${run}/resume`, 404],
  ['POST', `/runs/${run}/retry`, 404],
  ['GET', `/runs/${run}/state`, 404],
  ['POST', `/runs/${run}/fork`, 404],
  ['POST', `/runs/${run}/messages`, 404, { text: 'obey' }],
  ['GET', `/approvals/${approval}`, 404],
  ['POST', `/approvals/${approval}`, 404, { decision: 'answered', answer: 'yes' }],
  ['GET', `/llm/keys/${key}`, 404],
  ['DELETE', `/llm/keys/${key}`, 404],
  ['GET', `/events/${event}`, 404],
];

const elsewhere: Attack[] = [
  ['POST', '/agents', 403, agentInput({ name: 'intruder', workstream: 'beta' })],
  ['POST', '/agents', 409, agentInput({ name: 'rival', workstream: 'alpha' })],
  ['PUT', '/agents/scout', 403, agentInput({ name: 'scout', workstream: 'beta' })],
  ['POST', '/llm/keys', 403, { name: 'theirs', workstream: 'beta' }],
  ['POST', '/llm/keys', 403, { name: "nobody's" }],
  ['GET', '/audit/verify', 403],
];

/** Answered with 200, and without a trace of beta. */
const lists = ({ agent, run }: Workstream, management: string) => [
  '/agents',
  '/agents?workstream=beta',
  '/agents?domain=hush%20domain',
  '/agents?cursor=a',
  '/runs',
  '/runs?workstream=beta',
  `/runs?agent=${agent}`,
  '/runs?status=waiting',
  `/runs/${run}/events`,
  `/runs/${run}/steps`,
  '/approvals',
  '/approvals?open=true',
  `/approvals?run=${run}`,
  `/approvals?agent=${agent}`,
  '/llm/keys',
  ...['agent', 'run', 'model', 'day', 'key'].map((by) => `/usage?by=${by}`),
  '/status',
  `${management}/agents/status`,
  `${management}/runs`,
];

async function open(t: { true(value: boolean): unknown }, stack: AsyncDisposableStack) {
  const gateway = stack.use(await startGateway({ PUBLIC_STATUS: 'false' }));
  const alpha = await fill(gateway, 'alpha', 'scout', 'plain');
  const beta = await fill(gateway, 'beta', 'rival', 'hush');
  const authorization = `Bearer ${await limitedTo('alpha')}`;
  const asks = (method: string, path: string, body?: unknown) => gateway.call(method, path, body, { authorization });
  const last = await gateway.bus.lastSeq();
  t.true((await asks('GET', `/agents?minSeq=${last}`)).status === 200);
  return { gateway, alpha, beta, authorization, asks };
}

test("another workstream's things are not there, whatever is asked of them, and nothing happens to them", async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha, beta, asks } = await open(t, stack);
  const before = await gateway.bus.lastSeq('toka.events.*.*');
  const changes = async () =>
    (await gateway.bus.read('run', beta.run)).length + (await gateway.bus.read('agent', beta.agent)).length;
  const had = await changes();
  for (const [method, path, status, body] of [...byId(beta), ...elsewhere]) {
    const answer = await asks(method, path, body);
    t.is(answer.status, status, `${method} ${path}: ${answer.text}`);
    t.notRegex(answer.text, /hush/, path);
    t.is((await asks('GET', '/agents/scout')).status, 200, `after ${path}`);
  }
  t.is(await changes(), had);
  t.is((await gateway.call('GET', `/agents/${beta.agent}`)).status, 200, 'whoever is not limited sees it');
  const none = await asks('GET', '/agents/nobody');
  const theirs = await asks('GET', `/agents/${beta.agent}`);
  t.is(theirs.text, none.text.replace('nobody', beta.agent), 'as if it did not exist');
  // The same requests do what they should where they may.
  for (const [method, path, , body] of byId(alpha).filter(([method]) => method === 'GET')) {
    const { status, text } = await asks(method, path, body);
    t.true(status === 200 || /artifact|has not ended/.test(text), `${path}: ${text}`);
  }
  const refused = await eventually(async () => {
    const { items } = await gateway.bus.ask(listEvents, {
      type: 'toka.system.access-denied.v1',
      cursor: String(before),
    });
    return items.length >= 15 && items;
  });
  t.true(
    refused.every(({ actor }) => actor === 'user:eve'),
    'each is in the log, with who it was',
  );
  t.regex(JSON.stringify(refused), new RegExp(`run/${beta.run} is of another workstream`));
});

test('lists, sums and streams hold nothing of another workstream', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, beta, asks } = await open(t, stack);
  const all = await Promise.all(lists(beta, gateway.management).map((path) => gateway.call('GET', path)));
  t.true(
    all.filter(({ text }) => /hush|rival/.test(text)).length > 14,
    'an unlimited token sees it: the attempts are real',
  );
  for (const path of lists(beta, gateway.management)) {
    const { status, text } = await asks('GET', path);
    t.is(status, 200, `${path}: ${text}`);
    t.false(/hush|rival/.test(text) || text.includes(beta.run), `${path}: ${text}`);
  }
  t.is((await asks('GET', '/agents')).json.items.length, 1);
  t.deepEqual(
    (await asks('GET', '/usage?by=model')).json.items.map(({ key }: { key: string }) => key),
    ['plain-model'],
  );
  const empty = { authorization: `Bearer ${await limitedTo()}` };
  t.deepEqual((await gateway.call('GET', '/agents', undefined, empty)).json.items, [], 'limited to none');
});

/** What a stream shows until the event of alpha that is made now. */
async function streamed({ url, call }: Gateway, authorization: string, query: string, headers = {}) {
  const stop = new AbortController();
  const response = await fetch(`${url}/events${query}`, {
    headers: { authorization, ...headers },
    signal: stop.signal,
  });
  const seen: string[] = [];
  const { json } = await call('POST', '/agents/scout/runs', { input: 'the last' });
  for await (const { data } of readEvents(response)) {
    seen.push(JSON.stringify(data));
    if (data.subject === `run/${json.id}`) break;
  }
  stop.abort();
  return seen;
}

test('event streams hold nothing of another workstream, from whatever place they go on', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha, beta, authorization } = await open(t, stack);
  for (const [query, headers] of [
    ['?since=0', {}],
    ['', { 'last-event-id': '0' }],
    ['', { 'last-event-id': String(beta.event - 1) }],
    ['?since=0&type=toka.run.*', {}],
  ] as const) {
    const seen = await streamed(gateway, authorization, query, headers);
    t.false(
      seen.some((each) => /hush|rival/.test(each) || each.includes(beta.run)),
      `${query} ${JSON.stringify(headers)}`,
    );
    if (query === '?since=0')
      t.true(
        ['run', 'agent', 'llm', 'key'].every((entity) => seen.some((each) => each.includes(`"subject":"${entity}/`))),
      );
    t.false(seen.some((each) => each.includes('"subject":"system/')));
  }
  const stop = new AbortController();
  const response = await fetch(`${gateway.url}/events?since=0&subject=run/${beta.run}`, {
    headers: { authorization },
    signal: stop.signal,
  });
  const seen: unknown[] = [];
  const reading = (async () => {
    for await (const each of readEvents(response)) seen.push(each);
  })().catch(() => undefined);
  await gateway.call('POST', `/runs/${beta.run}/messages`, { text: 'hush' });
  t.true((await streamed(gateway, authorization, `?since=0&subject=run/*`)).some((each) => each.includes(alpha.run)));
  stop.abort();
  await reading;
  t.deepEqual(seen, []);
});

test('an agent that changes hands takes its events along', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, asks, authorization } = await open(t, stack);
  const moved = agentInput({ name: 'rival', workstream: 'alpha' });
  t.is((await gateway.call('PUT', '/agents/rival', moved)).status, 200);
  t.is((await asks('GET', '/agents/rival')).status, 200);
  t.is((await gateway.call('PUT', '/agents/scout', agentInput({ workstream: 'beta' }))).status, 200);
  t.is((await asks('GET', '/agents/scout')).status, 404);
  const { status } = await gateway.call('GET', '/events/1', undefined, { authorization });
  t.is(status, 404);
});

test("the name of another workstream's agent is refused as one's own is, in the same words, after its end, too", async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, asks } = await open(t, stack);
  const create = (name: string) => asks('POST', '/agents', agentInput({ name, workstream: 'alpha' }));
  const same = async (why: string) => {
    const [own, theirs] = [await create('scout'), await create('rival')];
    t.is(theirs.status, 409, why);
    t.is(theirs.text, own.text.replaceAll('scout', 'rival'), why);
    t.notRegex(theirs.text, /beta|hush|workstream|event/, why);
  };
  await same('while it lives');
  await gateway.call('DELETE', '/agents/rival');
  t.is((await create('rival')).status, 409, 'its memory and its history stay its own');
  t.is((await asks('GET', '/agents/rival')).status, 404);
  await asks('DELETE', '/agents/scout');
  t.is((await create('scout')).status, 201, "one's own may be had again");
  t.is((await create('free')).status, 201);
});

test("an agent that has the name of an earlier one of another workstream's does not have its events", async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, authorization } = await open(t, stack);
  await gateway.call('DELETE', '/agents/rival');
  const { status } = await gateway.call('POST', '/agents', agentInput({ name: 'rival', workstream: 'alpha' }));
  t.is(status, 201, 'whoever is not limited may give the name to others');
  const seen = await streamed(gateway, authorization, '?since=0');
  t.true(seen.some((each) => each.includes('"subject":"agent/rival"')));
  t.false(seen.some((each) => /hush|"subject":"memory\/rival"/.test(each)));
});
