import test from 'ava';
import type { Context } from 'koa';
import { connect } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import { Failure } from '#shared/errors.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { Answer } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { startNats } from '#test/helpers/servers.ts';
import type { Claim } from '../../services/gateway/once.ts';
import { createOnce } from '../../services/gateway/once.ts';

const once = (key: string) => ({ 'idempotency-key': key });
const replayed = ({ headers }: Answer) => headers.get('idempotent-replayed');

test('a POST that is repeated with its key is done once, and answered the same by every gateway, one that was started later too', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const first = await call('POST', '/agents', agentInput(), once('create'));
  t.is(first.status, 201);
  t.is(replayed(first), null);
  const seq = await bus.lastSeq('toka.events.agent.*');
  await call('POST', '/agents/scout/pause');
  const other = await gateway.another();
  for (const base of [gateway.url, other.url]) {
    const again = await call('POST', `${base}/agents`, agentInput(), once('create'));
    t.is(again.status, 201);
    t.deepEqual(again.json, first.json, 'as it was then');
    t.is(replayed(again), 'true');
    for (const name of ['location', 'etag', 'toka-seq']) t.is(again.headers.get(name), first.headers.get(name));
  }
  t.is((await bus.read('agent', 'scout')).length, 2);
  t.true((await bus.lastSeq('toka.events.agent.*')) > seq);

  const { id } = (await call('POST', '/agents/scout/runs', { input: 'x' })).json;
  const say = (base: string) => call('POST', `${base}/runs/${id}/messages`, { text: 'Hurry' }, once('hurry'));
  const said = await Promise.all(Array.from({ length: 10 }, (_, n) => say(n % 2 ? gateway.url : other.url)));
  t.true(said.every(({ status }) => status === 202));
  t.is((await bus.read('run', id)).length, 2, 'however many come at a time');
});

test('a key that comes with another request is refused; a key of another client is another', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const ask = (path: string, body: object, headers = {}) =>
    call('POST', `/agents/scout/${path}`, body, { ...once('k'), ...headers });
  const first = await ask('runs', { input: 'Say hello' });
  for (const [path, body] of [
    ['runs', { input: 'Say goodbye' }],
    ['runs', { input: 'Say hello', runAt: '2026-12-31T00:00:00Z' }],
    ['pause', {}],
  ] as const) {
    const { status, json } = await ask(path, body);
    t.is(status, 422);
    t.like(json, { code: 'reused', detail: 'this Idempotency-Key was used for another request; use a new one' });
  }
  const bob = { authorization: `Bearer ${await token('admin', { sub: 'bob' })}` };
  const others = await ask('runs', { input: 'Say hello' }, bob);
  t.is(others.status, 202);
  t.not(others.json.id, first.json.id);
  t.is((await ask('runs', { input: 'Say hello' })).json.id, first.json.id);
});

test('an answer that is too long to be kept is made again, and nothing is done twice', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const objectives = Array.from({ length: 5 }, (_, index) => ({
    ...{ id: `o-${index}`, description: 'x'.repeat(15_000), deliverable: 'a.md' },
    validation: 'It is there',
  }));
  await call('POST', '/agents', agentInput({ objectives, schedule: '0 6 * * *' }));
  for (let time = 0; time < 2; time++) {
    const paused = await call('POST', '/agents/scout/pause', { reason: 'x' }, once('pause'));
    t.like(paused, { status: 200, json: { status: 'paused' } });
    t.is(replayed(paused), null);
  }
  t.is((await bus.read('agent', 'scout')).length, 2);
});

test('what was refused is not remembered: nothing has come of it', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const ask = (body: object = { input: 'x' }) => call('POST', '/agents/scout/runs', body, once('k'));
  t.is((await ask({})).status, 400);
  t.is((await ask()).status, 404);
  await call('POST', '/agents', agentInput());
  t.is((await ask({ objective: 'none' })).status, 400);
  const done = await ask();
  t.is(done.status, 202);
  t.is((await ask()).json.id, done.json.id);
});

test('the secret of a key is kept nowhere, and its request is done once all the same', async (t) => {
  await using gateway = await startGateway();
  const { call, nats } = gateway;
  const mint = (name: string) => call('POST', '/llm/keys', { name }, once('k'));
  const { status, json } = await mint('ci');
  t.is(status, 201);
  for (let time = 0; time < 3; time++) t.is((await mint('ci')).status, 409);
  t.is((await mint('other')).status, 422);
  t.is((await call('GET', '/llm/keys')).json.items.length, 1);
  const nc = await connect({ servers: nats.url });
  const jsm = await nc.jetstreamManager();
  const { state } = await jsm.streams.info('KV_notes');
  t.is(state.messages, 1);
  const note = (await jsm.streams.getMessage('KV_notes', { seq: state.last_seq })).string();
  t.regex(note, /"answer":null/);
  t.false(note.includes(json.secret));
  await nc.close();
});

const response = { get: () => '' };
const ctx = { method: 'POST', path: '/runs', querystring: '', status: 202, response, set: () => undefined };
const caller = { sub: 'ann', client: 'ann', expiresMs: Number.POSITIVE_INFINITY };
const request = { ctx: ctx as unknown as Context, caller, key: 'k', body: { a: 1 }, isSecret: false };

test('where a gateway broke off, who repeats the request goes on under the same name', async (t) => {
  await using nats = await startNats();
  await using bus = await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined);
  const perform = createOnce(bus.notes);
  const claims: (Claim | undefined)[] = [];
  const attempt = (work: () => unknown) =>
    perform(request, (claim) => {
      claims.push(claim);
      return work();
    });
  const unsure = () => {
    throw new Failure('unavailable', 'the log did not answer');
  };
  await t.throwsAsync(attempt(unsure), { message: 'the log did not answer' });
  await t.throwsAsync(attempt(unsure), { message: 'the log did not answer' });
  t.deepEqual(await attempt(() => ({ done: true })), { done: true });
  t.deepEqual(await attempt(() => t.fail()), { done: true }, 'from then on it is answered');
  t.is(claims.length, 3);
  t.deepEqual(claims[1], claims[0]);
  t.deepEqual(claims[2], claims[0]);
});

test('who waits for another with the same key looks for its answer ever more rarely', async (t) => {
  await using nats = await startNats();
  await using bus = await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined);
  const begun = Promise.withResolvers<void>();
  const end = Promise.withResolvers<unknown>();
  const first = createOnce(bus.notes)(request, () => {
    begun.resolve();
    return end.promise;
  });
  await begun.promise;
  const looks: number[] = [];
  const read = (name: string) => {
    looks.push(performance.now());
    if (looks.length === 5) end.resolve({ done: true });
    return bus.notes.read(name);
  };
  t.deepEqual(await createOnce({ ...bus.notes, read })(request, () => t.fail()), { done: true });
  t.deepEqual(await first, { done: true });
  const [from = 0, , , , to = 0] = looks;
  t.true(to - from >= 700, `five looks within ${to - from} ms`);
});
