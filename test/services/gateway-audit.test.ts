import test from 'ava';
import { listEvents } from '#shared/contracts/store.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';

test('every change is an event with who made it', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  const before = await bus.lastSeq();
  await call('POST', '/agents', agentInput());
  const run = (await call('POST', '/agents/scout/runs', { input: 'x' })).json.id;
  const key = (await call('POST', '/llm/keys', { name: 'ci' })).json.id;
  const changes: [string, string, unknown?][] = [
    ['PUT', '/agents/scout', agentInput({ version: '2.0.0' })],
    ['POST', '/agents/scout/pause', { reason: 'lunch' }],
    ['POST', '/agents/scout/resume'],
    ['POST', `/runs/${run}/messages`, { text: 'hello' }],
    ['POST', `/runs/${run}/pause`],
    ['POST', `/runs/${run}/resume`],
    ['POST', `/runs/${run}/cancel`],
    ['POST', `/runs/${run}/retry`],
    ['DELETE', `/llm/keys/${key}`],
    ['DELETE', '/agents/scout'],
  ];
  for (const [method, path, body] of changes) {
    const had = await bus.lastSeq();
    const { status, text } = await call(method, path, body);
    t.true(status < 300, `${method} ${path}: ${text}`);
    t.is(await bus.lastSeq(), had + 1, `${method} ${path} is one event`);
  }
  const last = await bus.lastSeq();
  const { items } = await bus.ask(listEvents, { cursor: String(before), minSeq: last });
  t.is(items.length, changes.length + 3);
  t.deepEqual([...new Set(items.map(({ actor }) => actor))], ['user:ann']);
});

test('every refusal is in an event with who was refused, many of one client together', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  const before = await bus.lastSeq();
  const reader = `Bearer ${await token('runs:read', { sub: 'bob' })}`;
  for (let count = 0; count < 60; count++)
    await call('GET', '/agents', undefined, { authorization: count % 2 === 0 ? reader : 'Bearer bad' });
  await call('DELETE', '/agents/scout', undefined, {
    authorization: `Bearer ${await token('runs:read', { sub: 'carol' })}`,
  });
  const refused = await eventually(async () => {
    const { items } = await bus.ask(listEvents, { cursor: String(before), type: 'toka.system.access-denied.v1' });
    const counts = items.map(({ data }) => (data as { count?: number }).count ?? 1);
    return counts.reduce((sum, each) => sum + each, 0) === 61 && items;
  });
  t.true(refused.length <= 45, `${refused.length} events for 61 refusals`);
  const by = (actor: string) => refused.filter((each) => each.actor === actor);
  t.like(by('user:bob')[0], { data: { method: 'GET', path: '/agents', code: 'forbidden', address: '127.0.0.1' } });
  t.like(by('anonymous')[0], { data: { code: 'unauthorized', address: '127.0.0.1' } });
  t.like(by('user:carol'), [{ data: { method: 'DELETE', path: '/agents/scout' } }]);
});
