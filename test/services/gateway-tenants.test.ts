import test from 'ava';
import type { Context } from 'koa';
import type { DataOf, TokaEvent } from '#shared/contracts/events.ts';
import { listEvents } from '#shared/contracts/store.ts';
import { agentOf, ownedBy, thingOf } from '#shared/domain/ownership.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { facts } from '#test/helpers/events.ts';
import { startGateway } from '#test/helpers/gateway.ts';
import { fill } from '#test/helpers/two-workstreams.ts';
import { inside, makeWebhook } from '#test/helpers/webhooks.ts';
import { createOwners } from '../../services/gateway/owners.ts';
import { createBusOf } from '../../services/gateway/tenant-bus.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** Two workstreams with one of everything, calls of models by all whose they can be, and what is nobody's. */
async function open(stack: AsyncDisposableStack) {
  const gateway = stack.use(await startGateway(inside));
  const alpha = await fill(gateway, 'alpha', 'scout', 'plain');
  const beta = await fill(gateway, 'beta', 'rival', 'hush');
  for (const workstream of ['alpha', 'beta', undefined])
    await makeWebhook(gateway, { url: 'http://127.0.0.1:9/', ...(workstream && { workstream }) });
  await gateway.call('POST', '/tokens/revoke', { jti: 'one of nobody knows whom' });
  const whose: Partial<DataOf<'toka.llm.called.v1'>>[] = [
    ...[alpha, beta].flatMap(({ key, agent, run }) => [
      { key },
      { key, agentId: agent },
      { key: 'internal', runId: run },
    ]),
    { key: alpha.key, agentId: beta.agent },
    { key: alpha.key, agentId: alpha.agent, runId: beta.run },
    { key: 'internal' },
  ];
  for (const { key = 'internal', ...of } of whose) {
    const data = { ...facts, key, agentId: null, runId: null, outcome: 'ok', ...of };
    await gateway.bus.append(newEvent({ type: 'toka.llm.called.v1', data }, `llm/${key}`, writer));
  }
  return { gateway, alpha, beta };
}

test('gateway and archive agree on whose each event is, of every kind of thing that there is', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway } = await open(stack);
  const { bus } = gateway;
  const asked = { limit: 500, minSeq: await bus.lastSeq() };
  const { items: all } = await bus.ask(listEvents, asked);
  const events = await bus.readAt(all.map(({ seq }) => seq));
  t.deepEqual(
    [...new Set(events.map((event) => thingOf(event).entity))].toSorted(),
    // What people decide is about runs.
    Object.keys(ownedBy)
      .filter((entity) => entity !== 'decision')
      .toSorted(),
    'there is one of each',
  );
  const owners = createOwners(bus);
  for (const workstream of ['alpha', 'beta', 'gamma']) {
    const shown = await bus.ask(listEvents, { ...asked, workstreams: [workstream] });
    const own = new Set([workstream]);
    const expected: number[] = [];
    for (const event of events) if (await owners.ofEvent(event, own)) expected.push(event.seq);
    t.deepEqual(
      shown.items.map(({ seq }) => seq),
      expected,
      workstream,
    );
    t.is(expected.length > 5, workstream !== 'gamma');
  }
  const about = events.map((event) => agentOf(event)?.id);
  t.true(about.includes('scout') && about.includes('rival') && about.includes(undefined));
});

test('a route has no member of the bus that nobody has written down for tenants', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { gateway, alpha, beta } = await open(stack);
  const denied: string[] = [];
  const wider = { ...gateway.bus, purgeEverything: () => 'done' };
  const busOf = createBusOf(wider, (_, { message }) => denied.push(message));
  const members = [
    'append',
    'artifacts',
    'ask',
    'follow',
    'history',
    'isTaken',
    'lastSeq',
    'nudge',
    'positions',
    'read',
    'readEvent',
  ];
  const ctx = {} as Context;
  const limited = busOf({ workstreams: ['alpha'] }, ctx);
  for (const bus of [busOf({}, ctx), limited]) {
    t.deepEqual(Object.keys(bus).toSorted(), members);
    t.deepEqual(Object.keys(bus.artifacts), ['get', 'has']);
    t.deepEqual(Object.keys(bus.positions), ['get']);
  }
  t.is((await limited.read('run', alpha.run)).length, 4);
  t.deepEqual(await limited.read('run', beta.run), []);
  t.deepEqual(denied, [`run/${beta.run} is of another workstream, and the token is limited to some workstreams`]);
  t.is((await busOf({}, ctx).read('run', beta.run)).length, 4);
  t.deepEqual(await limited.read('system', 'gateway'), []);
  t.deepEqual(await limited.read('llm', 'internal'), []);
  const { items } = (await gateway.call('GET', '/webhooks')).json;
  for (const { id, workstream } of items) {
    await gateway.bus.positions.put(id, { seq: 1 });
    t.is((await limited.positions.get(id)) !== undefined, workstream === 'alpha', `${workstream}`);
  }
  const removed = newEvent({ type: 'toka.agent.removed.v1', data: { reason: 'x' } }, 'agent/rival', writer);
  await t.throwsAsync(limited.append(removed), { code: 'forbidden' } as never);
  const [registered] = (await gateway.bus.read('agent', 'scout')).filter(
    ({ type }) => type === 'toka.agent.registered.v1',
  );
  const last = (await gateway.bus.read('agent', 'rival')).at(-1)?.seq;
  // A writer that expects what is there is not let onto it either: that it was another's is not for it to know.
  const onto = { ...registered, id: newId('evt'), subject: 'agent/rival' } as TokaEvent;
  for (const expected of [0, last, undefined])
    await t.throwsAsync(limited.append(onto, expected), { code: 'conflict' } as never, `${expected}`);
  t.is((await gateway.bus.read('agent', 'rival')).at(-1)?.seq, last);
  const system = newEvent({ type: 'toka.agent.paused.v1', data: { reason: 'x' } }, 'system/gateway', writer);
  await t.throwsAsync(limited.append(system), { code: 'forbidden' } as never);
});
