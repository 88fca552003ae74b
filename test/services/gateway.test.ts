import test from 'ava';
import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { dispatched, started, step, submitted } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

test('an agent is created, read, replaced, paused, resumed and removed', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const created = await call('POST', '/agents', agentInput());
  t.is(created.status, 201);
  t.is(created.headers.get('location'), '/agents/scout');
  t.like(created.json, { id: 'scout', origin: 'api', status: 'active' });
  t.is(created.headers.get('toka-seq'), String(created.json.version));
  t.is(created.headers.get('etag'), `"${created.json.version}"`);
  const read = await call('GET', '/agents/scout');
  t.deepEqual(read.json, created.json);
  t.is(read.headers.get('etag'), created.headers.get('etag'));
  const again = await call('POST', '/agents', agentInput());
  t.is(again.status, 409);
  t.is(again.json.detail, 'the name "scout" is taken; choose another one, or replace your agent of that name with PUT');

  const replaced = await call('PUT', '/agents/scout', agentInput({ version: '2.0.0' }));
  t.is(replaced.json.spec.version, '2.0.0');
  const paused = await call('POST', '/agents/scout/pause', { reason: 'a holiday' });
  t.is(paused.json.status, 'paused');
  const resumed = await call('POST', '/agents/scout/resume');
  t.is(resumed.json.status, 'active');
  t.is((await call('POST', '/agents/scout/resume')).json.version, resumed.json.version, 'repeating changes nothing');
  const [, , pausing] = await gateway.bus.read('agent', 'scout');
  t.like(pausing, { type: 'toka.agent.paused.v1', actor: 'user:ann', data: { reason: 'a holiday' } });

  const removed = await call('DELETE', '/agents/scout');
  t.is(removed.status, 204);
  t.is(removed.text, '');
  t.is((await call('GET', '/agents/scout')).json.detail, 'there is no agent "scout"');
  t.is((await call('DELETE', '/agents/scout')).status, 404);
  t.deepEqual((await call('GET', `/agents?minSeq=${removed.headers.get('toka-seq')}`)).json.items, []);
});

test('If-Match lets a replacement through only while the agent is as it was read', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const put = (version: string, tag: string) =>
    call('PUT', '/agents/scout', agentInput({ version }), { 'if-match': tag });
  t.is((await put('1.0.0', '*')).status, 404);
  const first = (await call('POST', '/agents', agentInput())).headers.get('etag') ?? '';
  const blind = await put('2.0.0', '');
  t.is(blind.status, 428);
  t.like(blind.json, { code: 'unconditional', title: 'Precondition Required' });
  t.regex(blind.json.detail, /^If-Match is missing: send the ETag that GET gave/);
  const second = await put('2.0.0', first);
  t.is(second.status, 200);
  t.not(second.headers.get('etag'), first);
  const stale = await put('3.0.0', first);
  t.is(stale.status, 412);
  t.like(stale.json, { code: 'stale', title: 'Precondition Failed' });
  t.regex(stale.json.detail, /^the agent is at version \d+ and no longer at \d+; read it again$/);
  t.is((await call('GET', '/agents/scout')).json.spec.version, '2.0.0');
  t.is((await put('3.0.0', '*')).status, 200);
  const raced = (await call('GET', '/agents/scout')).headers.get('etag') ?? '';
  const statuses = await Promise.all(['4', '5', '6', '7'].map(async (version) => (await put(version, raced)).status));
  t.deepEqual(statuses.toSorted(), [200, 412, 412, 412], 'of those who read the same version, one wins');
});

test('a list comes in pages, holds what one has written, and can be filtered', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  let seq: string | null = null;
  for (const name of ['a', 'b', 'c', 'd', 'e']) {
    const made = await call('POST', '/agents', agentInput({ name, workstream: name < 'c' ? 'early' : 'late' }));
    seq = made.headers.get('toka-seq');
    const { json } = await call('GET', `/agents?minSeq=${seq}`);
    t.true(json.items.some(({ id }: { id: string }) => id === name));
  }
  const names: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const query = `?limit=2${cursor ? `&cursor=${cursor}` : ''}`;
    const { json } = await call('GET', `/agents${query}`);
    t.true(json.items.length <= 2);
    names.push(...json.items.map(({ id }: { id: string }) => id));
    cursor = json.nextCursor;
  }
  t.deepEqual(names, ['a', 'b', 'c', 'd', 'e']);
  const late = await call('GET', '/agents?workstream=late');
  t.is(late.json.items.length, 3);
  const ahead = await call('GET', `/agents?minSeq=${Number(seq) + 1_000}`);
  t.is(ahead.status, 503);
  t.regex(ahead.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
});

test('a run is queued once for each idempotency key, however many ask at a time', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput());
  const ask = (input: string, key: string) => call('POST', '/agents/scout/runs', { input }, { 'idempotency-key': key });
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask('Say hello', 'k1')));
  const ids = new Set(answers.map(({ json }) => json.id));
  t.is(ids.size, 1);
  const [id = ''] = ids;
  t.true(answers.every(({ status }) => status === 202));
  t.like(answers[0]?.json, { agentId: 'scout', kind: 'ad-hoc', status: 'queued', description: 'Say hello' });
  t.is(answers[0]?.headers.get('location'), `/runs/${id}`);
  t.is((await bus.read('run', id)).length, 1);
  t.not((await ask('Say hello', 'k2')).json.id, id);
  t.not((await call('POST', '/agents/scout/runs', { input: 'x' })).json.id, id);
  const other = await ask('Say goodbye', 'k1');
  t.is(other.status, 422);
  t.is(other.json.detail, 'this Idempotency-Key was used for another request; use a new one');
  const objective = await call('POST', '/agents/scout/runs', { objective: 'objective-1' });
  t.like(objective.json, { kind: 'objective', workId: 'objective-1', trigger: 'api' });
});

test('a run is read at once, cancelled once, and its runner is nudged', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput());
  const { id } = (await call('POST', '/agents/scout/runs', { input: 'Say hello' })).json;
  t.is((await call('GET', `/runs/${id}`)).json.id, id);
  let nudges = 0;
  bus.onNudge(id, () => {
    nudges += 1;
  });
  await bus.lastSeq(); // a round trip: the server knows of the subscription
  const cancelled = await call('POST', `/runs/${id}/cancel`, { reason: 'enough' });
  t.like(cancelled.json, { status: 'cancelled', error: { message: 'enough' } });
  await eventually(() => nudges === 1);
  const again = await call('POST', `/runs/${id}/cancel`);
  t.is(again.status, 200);
  t.is(again.json.version, cancelled.json.version);
  const seq = cancelled.headers.get('toka-seq');
  t.is((await call('GET', `/runs/${id}?minSeq=${seq}`)).json.status, 'cancelled');
  const { json } = await call('GET', `/runs/${id}/events?minSeq=${seq}`);
  t.deepEqual(
    json.items.map(({ type }: { type: string }) => type),
    ['toka.run.queued.v1', 'toka.run.cancelled.v1'],
  );
  t.is((await call('GET', '/runs?status=cancelled&agent=scout')).json.items.length, 1);
  t.is((await call('GET', '/runs?status=queued')).json.items.length, 0);
});

test('a run is read from the log while the archive is away; a list says that it cannot be had', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await gateway.stopStore();
  await call('POST', '/agents', agentInput());
  t.is((await call('GET', '/agents/scout')).status, 200);
  const { id } = (await call('POST', '/agents/scout/runs', { input: 'Say hello' })).json;
  t.is((await call('GET', `/runs/${id}`)).json.status, 'queued');
  const list = await call('GET', '/runs');
  t.is(list.status, 503);
  t.is(list.headers.get('retry-after'), '1');
  t.is(list.json.code, 'unavailable');
  t.is((await call('GET', '/events/1')).status, 503, 'an event that exists is not said to be missing');
});

test('what an agent handed in is served as bytes that a browser neither runs nor guesses at', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput());
  const { id } = (await call('POST', '/agents/scout/runs', { input: 'Make a page' })).json;
  const text = '<script>alert("ä")</script>\n';
  const artifact = await bus.artifacts.put(Buffer.from(text));
  const handedIn = { ...submitted('x').data, name: '報告 1.html', mediaType: 'text/html', artifact };
  const drafts = [dispatched, started, step('a', 'submit_deliverable'), { ...submitted('a-1'), data: handedIn }];
  let seq = 0; // what a person asked for lies on another subject
  for (const draft of drafts) seq = await bus.append(newEvent(draft as Draft, `run/${id}`, writer), seq);

  const list = await call('GET', `/runs/${id}/artifacts?minSeq=${seq}`);
  t.like(list.json.items, [{ name: '報告 1.html', mediaType: 'text/html', artifact }]);
  const path = `/runs/${id}/artifacts/${encodeURIComponent('報告 1.html')}`;
  const got = await call('GET', path);
  t.is(got.status, 200);
  t.is(got.text, text);
  t.regex(got.headers.get('content-type') ?? '', /^text\/html/);
  t.is(
    got.headers.get('content-disposition'),
    `attachment; filename="?? 1.html"; filename*=UTF-8''%E5%A0%B1%E5%91%8A%201.html`,
  );
  t.is(got.headers.get('x-content-type-options'), 'nosniff');
  t.is(got.headers.get('content-security-policy'), "default-src 'none'; sandbox");
  t.is((await call('GET', `/runs/${id}/artifacts/other.html`)).json.detail, 'the run has no artifact "other.html"');
  const steps = await call('GET', `/runs/${id}/steps?minSeq=${seq}`);
  t.like(steps.json.items[0], { step: 1, model: 'demo-1', tools: ['submit_deliverable'], inputTokens: 10 });
});
