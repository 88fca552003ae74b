import test from 'ava';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { started, step } from '#test/helpers/events.ts';
import { startGateway } from '#test/helpers/gateway.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

test('a question that a runner asks before it hears that its run was cancelled is open for nobody', async (t) => {
  await using gateway = await startGateway();
  const { bus, call } = gateway;
  await call('POST', '/agents', agentInput());
  const { json: run } = await call('POST', '/agents/scout/runs', { input: 'x' });
  for (const draft of [started, step('x', 'ask_human')]) await bus.append(newEvent(draft, `run/${run.id}`, writer));
  t.is((await call('POST', `/runs/${run.id}/cancel`, { reason: 'enough' })).status, 200);
  const data = {
    ...{ id: newId('apr'), callId: 'c1', kind: 'question' as const, tool: 'ask_human', capability: null, schema: null },
    ...{ question: 'how many?', expiresAt: new Date(Date.now() + 3_600_000).toISOString() },
  };
  const seq = await bus.append(newEvent({ type: 'toka.run.approval-requested.v1', data }, `run/${run.id}`, writer));
  const { json: listed } = await call('GET', `/approvals?open=true&minSeq=${seq}`);
  t.deepEqual(listed.items, []);
});
