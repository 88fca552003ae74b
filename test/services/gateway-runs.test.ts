import test from 'ava';
import { countRuns } from '#shared/contracts/scheduling.ts';
import { newEvent } from '#shared/event.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway } from '#test/helpers/gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

test('an agent that would wait for nobody, or in a circle, is refused with the path', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  const unknown = await call('POST', '/agents', agentInput({ name: 'b', depends_on: ['a'] }));
  t.is(unknown.status, 400);
  t.like(unknown.json.errors, [{ field: 'depends_on.0', message: 'there is no agent "a"; did you mean "b"?' }]);
  t.is((await call('POST', '/agents', agentInput({ name: 'a' }))).status, 201);
  t.is((await call('POST', '/agents', agentInput({ name: 'b', depends_on: ['a'] }))).status, 201);
  t.is((await call('POST', '/agents', agentInput({ name: 'c', depends_on: ['b'] }))).status, 201);
  const circle = await call('PUT', '/agents/a', agentInput({ name: 'a', depends_on: ['c'] }));
  t.is(circle.status, 400);
  t.like(circle.json.errors, [{ field: 'depends_on', message: 'goes round in a circle: a → c → b → a' }]);
});

test('a run that failed is done again once, by the agent as it is now', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput());
  const { json: run } = await call('POST', '/agents/scout/runs', { input: 'Count the files' });
  t.is((await call('POST', `/runs/${run.id}/retry`)).status, 409, 'it has not ended');
  const data = { code: 'poison', message: 'it ended its runner' };
  await bus.append(newEvent({ type: 'toka.run.failed.v1', data }, `run/${run.id}`, writer));
  await call('PUT', '/agents/scout', agentInput({ instructions: 'Count slowly' }));
  const again = await call('POST', `/runs/${run.id}/retry`);
  t.is(again.status, 202);
  t.like(again.json, { retryOf: run.id, status: 'queued', description: 'Count the files', trigger: 'api' });
  t.is((await call('POST', `/runs/${run.id}/retry`)).json.id, again.json.id, 'asked twice it is one');
  const [queued] = await bus.read('run', again.json.id);
  t.is(queued?.type === 'toka.run.queued.v1' && queued.data.definition.instructions, 'Count slowly');
  await call('DELETE', '/agents/scout');
  t.is((await call('POST', `/runs/${run.id}/retry`)).status, 409);
});

test('a run may be queued for a time to come, within a year', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput());
  const at = new Date(Date.now() + 3_600_000).toISOString();
  const { status, json } = await call('POST', '/agents/scout/runs', { input: 'x', runAt: at });
  t.is(status, 202);
  t.is(json.runAt, at);
  for (const runAt of ['tomorrow', '2999-01-01T00:00:00Z', 7])
    t.is((await call('POST', '/agents/scout/runs', { input: 'x', runAt })).status, 400);
});

test('times of a schedule that were missed are made up for, each once, and not too many at a time', async (t) => {
  await using gateway = await startGateway();
  const { call } = gateway;
  await call('POST', '/agents', agentInput({ name: 'plain' }));
  t.is((await call('POST', '/agents/plain/backfill', { from: span(1), to: span(2) })).status, 409);
  await call('POST', '/agents', agentInput({ schedule: { cron: '0 6 * * *', timezone: 'Europe/Berlin' } }));
  const first = await call('POST', '/agents/scout/backfill', { from: span(1), to: span(4) });
  t.is(first.status, 202);
  t.deepEqual([first.json.queued.length, first.json.already.length], [3, 0]);
  const more = await call('POST', '/agents/scout/backfill', { from: span(2), to: span(5) });
  t.deepEqual([more.json.queued.length, more.json.already.length], [1, 2]);
  const { json: run } = await call('GET', `/runs/${first.json.queued[0]}`);
  t.like(run, { trigger: 'schedule', status: 'queued' });
  const wrong = [
    { from: span(4), to: span(1) },
    { from: '2020-01-01T00:00:00Z', to: span(1) },
    { from: '1960-01-01T00:00:00Z', to: '1961-01-01T00:00:00Z' },
    { from: span(1), to: '2999-01-01T00:00:00Z' },
    { from: span(1) },
  ];
  for (const body of wrong) t.is((await call('POST', '/agents/scout/backfill', body)).status, 400);
});

const span = (day: number) => `2026-07-0${day}T12:00:00Z`;

test('while too many runs are open, no more are taken, and the answer says when to try again', async (t) => {
  await using gateway = await startGateway({
    BACKLOG_MAX: '100',
    BACKLOG_WORKSTREAM_MAX: '10',
    BACKLOG_CALLER_MAX: '9',
  });
  const { call, bus } = gateway;
  await call('POST', '/agents', agentInput());
  const start = () => call('POST', '/agents/scout/runs', { input: 'x' });
  t.is((await start()).status, 202, 'nobody knows: it is on the log');
  let counts = { all: 100, workstream: 2, caller: 1 };
  const asked: unknown[] = [];
  bus.answer(countRuns, (place) => {
    asked.push(place);
    return counts;
  });
  const refused = await eventually(async () => {
    const answer = await start();
    return answer.status === 429 && answer;
  });
  t.is(refused.headers.get('retry-after'), '5');
  t.regex(refused.json.detail, /^there is no room for 1 more of the 100 runs that may be open \(BACKLOG_MAX\)/);
  t.deepEqual(asked[0], { workstream: 'main', actor: 'user:ann' });
  for (const [next, says] of [
    [
      { all: 10, workstream: 10, caller: 1 },
      /^10 runs of the workstream "main" have not ended.*BACKLOG_WORKSTREAM_MAX/,
    ],
    [{ all: 9, workstream: 9, caller: 9 }, /^9 runs that you queued in the workstream "main".*BACKLOG_CALLER_MAX/],
  ] as const) {
    counts = next;
    await eventually(async () => says.test((await start()).json.detail));
  }
  counts = { all: 9, workstream: 2, caller: 1 };
  await eventually(async () => (await start()).status === 202);
});

test('runs are listed by what they have and when they came, page after page in an order that does not change', async (t) => {
  await using gateway = await startGateway();
  const { call, bus } = gateway;
  const agents = [
    agentInput({ name: 'a', domain: 'docs', priority: 'high' }),
    agentInput({ name: 'b', domain: 'code', priority: 'low', workstream: 'side' }),
  ];
  for (const agent of agents) await call('POST', '/agents', agent);
  const ids: string[] = [];
  const times: string[] = [];
  for (const name of ['a', 'b', 'a', 'b', 'a']) {
    const { json } = await call('POST', `/agents/${name}/runs`, { input: 'x' });
    ids.push(json.id);
    times.push(json.queuedAt);
  }
  await call('POST', `/runs/${ids[0]}/cancel`);
  const seq = await bus.lastSeq();
  const list = async (query: string) => (await call('GET', `/runs?minSeq=${seq}&${query}`)).json;
  const found = async (query: string) =>
    (await list(query)).items.map(({ id }: { id: string }) => ids.indexOf(id)).toSorted();
  t.deepEqual(await found('domain=docs'), [0, 2, 4]);
  t.deepEqual(await found('priority=low'), [1, 3]);
  t.deepEqual(await found('workstream=side&domain=docs'), []);
  t.deepEqual(await found('agent=a&status=cancelled'), [0]);
  t.deepEqual(await found(`since=${times[1]}&until=${times[4]}`), [1, 2, 3]);
  const east = new Date(Date.parse(times[3] ?? '') + 7_200_000).toISOString().replace('Z', '%2B02:00');
  t.deepEqual(await found(`since=${east}`), [3, 4], 'a time of another zone');

  const seen: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const page = await list(`limit=2&agent=a${cursor ? `&cursor=${cursor}` : ''}`);
    seen.push(...page.items.map(({ id }: { id: string }) => id));
    cursor = page.nextCursor;
    await call('POST', '/agents/a/runs', { input: 'one that comes in between' });
  }
  t.deepEqual(
    seen,
    [4, 2, 0]
      .map((index) => ids[index] ?? '')
      .toSorted()
      .toReversed(),
  );
  await call('POST', '/agents/b/pause');
  const paused = await call('GET', `/agents?status=paused&minSeq=${await bus.lastSeq()}`);
  t.deepEqual(
    paused.json.items.map(({ id }: { id: string }) => id),
    ['b'],
  );
});
