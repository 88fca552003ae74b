import test from 'ava';
import { agentInput } from '#test/helpers/agents.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { fill } from '#test/helpers/two-workstreams.ts';
import { inside, makeWebhook } from '#test/helpers/webhooks.ts';

// JSON that goes so deep that whatever walks it recursively runs out of stack.

const levels = 20_000;
const shapes = {
  objects: `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`,
  both: `${'[{"a":'.repeat(levels)}1${'}]'.repeat(levels)}`,
  'arrays that never close': '['.repeat(500_000),
  'in a field': `{"name":"x","spec":${'['.repeat(levels)}${']'.repeat(levels)}}`,
  'in a field that is free': `{"decision":"answered","answer":${'['.repeat(levels)}${']'.repeat(levels)}}`,
};

type Described = { paths: Record<string, Record<string, { requestBody?: unknown }>> };

test('JSON of 20,000 levels is refused with what is wrong with it, wherever a body is taken', async (t) => {
  await using gateway = await startGateway(inside);
  const { call } = gateway;
  const { run, approval } = await fill(gateway, 'alpha', 'scout', 'plain');
  const webhook = await makeWebhook(gateway, { url: 'http://127.0.0.1:9/', workstream: 'alpha' });
  const ids: Record<string, string> = { agents: 'scout', runs: run, approvals: approval, webhooks: webhook.id };
  const { paths } = (await call('GET', '/openapi.json')).json as Described;
  const taking = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { requestBody }]) => requestBody !== undefined)
      .map(([method]) => ({
        method: method.toUpperCase(),
        path: path.replace(/\{id\}/, ids[path.split('/')[1] ?? ''] ?? 'x'),
      })),
  );
  t.true(taking.length > 10);
  const limited = { authorization: `Bearer ${await token('admin', { claims: { workstreams: ['alpha'] } })}` };
  for (const { method, path } of taking)
    for (const [what, text] of Object.entries(shapes)) {
      const { status, json } = await call(method, path, text, limited);
      t.is(status, 400, `${method} ${path}, ${what}: ${JSON.stringify(json)}`);
      t.regex(json.detail, /^the body (is nested more than 50 deep|is not JSON)/, `${method} ${path}, ${what}`);
    }
  t.is((await call('GET', '/agents/scout')).status, 200);
  t.is((await call('PUT', '/agents/scout', agentInput({ workstream: 'alpha' }))).status, 200);
});
