import test from 'ava';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const agents = `
[[agents]]
name = "scout"
version = "1.0.0"
domain = "docs"
priority = "high"
workstream = "main"
branch = "main"
schedule = "0 0 29 2 *" # a day that comes rarely
repository = "$REPOSITORY"
[agents.capabilities]
primary = ["filesystem-read"]
secondary = []
[[agents.objectives]]
description = "Make an inventory of the files"
deliverable = "inventory.md"
validation = "It is not empty"
`;

test('what a request begins is in its trace to the end: through scheduler, runner and model calls', async (t) => {
  await using system = await startSystem({ agents, environment: { TRACING_ENABLED: 'true' } });
  await system.saw(({ type }) => type === 'toka.agent.registered.v1');
  const id = 'a1'.repeat(16);
  const ask = async (): Promise<Response> =>
    fetch(`${system.api}/agents/scout/runs`, {
      method: 'POST',
      headers: {
        'idempotency-key': 'k1',
        authorization: `Bearer ${await tokenOf('runs:write')}`,
        'content-type': 'application/json',
        traceparent: `00-${id}-${'b'.repeat(16)}-01`,
        tracestate: 'vendor=1',
        prefer: 'wait=30',
      },
      body: JSON.stringify({ objective: 'objective-1' }),
    });
  const response = await ask();
  t.is(response.status, 200);
  const run = (await response.json()) as { id: string; status: string };
  t.is(run.status, 'completed');
  const again = await ask();
  t.is(again.headers.get('idempotent-replayed'), 'true');
  t.deepEqual(await again.json(), run, 'the same run, as it ended');
  await system.saw(({ type, correlationid }) => type === 'toka.llm.called.v1' && correlationid === run.id);
  const own = system.events.filter(({ correlationid }) => correlationid === run.id);
  const types = new Set(own.map(({ type }) => type));
  for (const type of [
    'run.queued',
    'run.dispatched',
    'run.started',
    'run.step-completed',
    'run.completed',
    'llm.called',
  ])
    t.true(types.has(`toka.${type}.v1` as never), type);
  for (const { type, traceparent, tracestate } of own) {
    t.is(traceparent?.split('-')[1], id, type);
    t.is(tracestate, 'vendor=1', type);
  }
  t.is(new Set(own.map(({ traceparent }) => traceparent)).size, own.length, 'each is a span of its own');
});
