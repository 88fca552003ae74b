import test from 'ava';
import { Pool } from 'undici';
import type { Draft } from '#shared/contracts/events.ts';
import { newEvent } from '#shared/event.ts';
import { startService } from '#shared/service.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { Answered, Operation } from '#test/helpers/contract/document.ts';
import { createCheck, readDocument } from '#test/helpers/contract/document.ts';
import type { Request } from '#test/helpers/contract/requests.ts';
import { requestsTo } from '#test/helpers/contract/requests.ts';
import { started, step, submitted } from '#test/helpers/events.ts';
import type { Gateway } from '#test/helpers/gateway.ts';
import { startGateway, token } from '#test/helpers/gateway.ts';
import { startReceiver } from '#test/helpers/receiver.ts';
import { fill } from '#test/helpers/two-workstreams.ts';
import { Config } from '../../services/scheduler/config.ts';
import { start } from '../../services/scheduler/main.ts';

// What /openapi.json says, held against a running gateway. CONTRACT_REQUESTS: how many requests are made up; CONTRACT_SEED: those of a former time.

const count = Number(process.env.CONTRACT_REQUESTS ?? 4_000);
const seed = Number(process.env.CONTRACT_SEED ?? Date.now() % 2 ** 31);
const atOnce = 64;

async function startAll(): Promise<Gateway & { ended: string; failed: string; hook: string; webhook: string }> {
  await using stack = new AsyncDisposableStack();
  const { url: hook, port } = stack.use(await startReceiver());
  const gateway = stack.use(await startGateway({ WEBHOOK_EXEMPT: `127.0.0.1:${port}`, WEBHOOK_PLAIN_HTTP: 'true' }));
  const env = { NATS_URL: gateway.nats.url, METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent' };
  stack.use(await startService('scheduler', Config, start, { ...env, CONFIG_FILE: 'none' }));
  const [objective] = agentInput().objectives;
  const objectives = objective ? [{ ...objective, id: 'changelog' }] : [];
  await gateway.call('POST', '/agents', agentInput({ schedule: '0 6 1 * *', objectives }));
  const run = async (drafts: readonly Draft[]) => {
    const { id } = (await gateway.call('POST', '/agents/scout/runs', { input: 'x' })).json;
    const writer = { source: '/toka/test/1', actor: 'service:test' };
    for (const draft of drafts) await gateway.bus.append(newEvent(draft, `run/${id}`, writer));
    return id;
  };
  const artifact = await gateway.bus.artifacts.put(Buffer.from('hello'));
  const handedIn = { ...submitted('x').data, artifact };
  const kept = {
    branch: 'main',
    base: null,
    head: null,
    commits: 1,
    diff: artifact,
    bundle: null,
    pushed: 'yes',
    artifacts: [],
  };
  const ended = await run([
    { type: 'toka.run.workspace-opened.v1', data: { branch: 'main', commit: null, bundle: null } },
    ...[started, step('a', 'submit_deliverable'), { ...submitted('a-1'), data: handedIn } as Draft],
    ...[{ type: 'toka.run.workspace-kept.v1', data: kept } as Draft],
    { type: 'toka.run.completed.v1', data: { result: 'done' } },
  ]);
  const failed = await run([{ type: 'toka.run.failed.v1', data: { code: 'poison', message: 'x' } }]);
  const { id: webhook } = (await gateway.call('POST', '/webhooks', { url: hook })).json;
  const owned = stack.move();
  return { ...gateway, ended, failed, hook, webhook, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

type Sent = Pick<Request, 'operation' | 'path' | 'headers' | 'body'>;

/** Sends, and reads the answer; of an event stream no more than its beginning. */
async function send(pool: Pool, { operation, path, headers, body }: Sent): Promise<Answered> {
  const method = operation.method as 'GET';
  const { statusCode, headers: got, body: answer } = await pool.request({ method, path, headers, body: body ?? null });
  const isStream = String(got['content-type']).startsWith('text/event-stream');
  if (isStream) answer.on('error', () => undefined).destroy();
  return { status: statusCode, headers: got, text: isStream ? '' : await answer.text() };
}

const described = async ({ call, management }: Gateway) =>
  readDocument((await call('GET', `${management}/openapi.json`)).json);

test('every operation answers what it should as its description says', async (t) => {
  await using gateway = await startAll();
  const { management, admin, ended, failed, hook, webhook, bus } = gateway;
  const { run, approval, memory, key, event } = await fill(gateway, 'main', 'spy', 'seed');
  const document = await described(gateway);
  const check = createCheck(document);
  await using pool = disposable(new Pool(management));
  const minSeq = `?minSeq=${await bus.lastSeq()}`;
  /** Path and body; those without are asked by their path as it is. */
  const valid: Record<string, [path: string, body?: unknown]> = {
    'get-agents': [`/agents${minSeq}`],
    'post-agents': ['/agents', agentInput({ name: 'new' })],
    'get-agents-by-id': ['/agents/scout'],
    'put-agents-by-id': ['/agents/scout', agentInput({ version: '2', schedule: '0 6 1 * *' })],
    'post-agents-by-id-pause': ['/agents/scout/pause', { reason: 'x' }],
    'post-agents-by-id-resume': ['/agents/scout/resume', {}],
    'post-agents-by-id-runs': ['/agents/scout/runs', { input: 'x' }],
    'post-agents-by-id-backfill': [
      '/agents/scout/backfill',
      { from: '2026-01-01T00:00:00Z', to: '2026-01-02T00:00:00Z' },
    ],
    'get-runs': [`/runs${minSeq}`],
    'get-runs-by-id': [`/runs/${ended}`],
    'get-runs-by-id-state': [`/runs/${ended}/state`],
    'post-runs-by-id-fork': [`/runs/${ended}/fork`, { message: 'Once more' }],
    'post-runs-by-id-retry': [`/runs/${failed}/retry`],
    'get-runs-by-id-events': [`/runs/${ended}/events`],
    'get-runs-by-id-steps': [`/runs/${ended}/steps`],
    'get-runs-by-id-artifacts': [`/runs/${ended}/artifacts`],
    'get-runs-by-id-artifacts-by-name': [`/runs/${ended}/artifacts/inventory.md`],
    'get-runs-by-id-diff': [`/runs/${ended}/diff`],
    'get-approvals': [`/approvals${minSeq}`],
    'get-approvals-by-id': [`/approvals/${approval}`],
    'post-approvals-by-id': [`/approvals/${approval}`, { decision: 'answered', answer: 'yes' }],
    'post-runs-by-id-messages': [`/runs/${run}/messages`, { text: 'Hurry' }],
    'post-runs-by-id-pause': [`/runs/${run}/pause`],
    'post-runs-by-id-resume': [`/runs/${run}/resume`],
    'post-runs-by-id-cancel': [`/runs/${run}/cancel`, { reason: 'enough' }],
    'get-events-by-seq': [`/events/${event}`],
    'post-llm-keys': ['/llm/keys', { name: 'ci', limits: { requests: 5 }, budget: { usd: 1, per: 'day' } }],
    'get-llm-keys-by-id': [`/llm/keys/${key}`],
    'delete-llm-keys-by-id': [`/llm/keys/${key}`],
    'post-tokens-revoke': ['/tokens/revoke', { jti: 'x', reason: 'it was in a log' }],
    'post-webhooks': ['/webhooks', { url: hook, types: ['toka.run.*'] }],
    'get-webhooks-by-id': [`/webhooks/${webhook}`],
    'post-webhooks-by-id-test': [`/webhooks/${webhook}/test`],
    'post-webhooks-by-id-enable': [`/webhooks/${webhook}/enable`, { skip: true }],
    'delete-webhooks-by-id': [`/webhooks/${webhook}`],
    'get-agents-by-id-memories': [`/agents/spy/memories${minSeq}`],
    'delete-agents-by-id-memories-by-memoryId': [`/agents/spy/memories/${memory}`],
    'delete-agents-by-id': ['/agents/spy'],
  };
  const order = Object.keys(valid);
  const rank = ({ operationId }: Operation) => order.indexOf(operationId) + 1 || order.length + 1;
  for (const operation of document.operations.toSorted((a, b) => rank(a) - rank(b))) {
    const [path, body] = valid[operation.operationId] ?? [operation.path];
    const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json', 'if-match': '*' };
    const answer = await send(pool, {
      operation,
      path,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const what = `${operation.method} ${path}: ${answer.status} ${answer.text.slice(0, 500)}`;
    t.true(answer.status < 300, what);
    t.is(check(operation, answer), undefined, what);
  }
  t.true(
    order.every((id) => document.operations.some(({ operationId }) => operationId === id)),
    'none is of the past',
  );
});

test(`${count} requests that were made up are answered as the description says, none of them by a fault of the gateway`, async (t) => {
  t.timeout(900_000);
  await using gateway = await startAll();
  const { management, admin, ended, failed, webhook } = gateway;
  const { agent, run, approval, key } = await fill(gateway, 'main', 'spy', 'seed');
  const ids = {
    agents: [agent, 'scout', 'scribe', 'nobody'],
    runs: [run, ended, failed],
    approvals: [approval],
    llm: [key],
    webhooks: [webhook],
    events: ['1', '7'],
  };
  const tokens = [admin, await token('runs:read'), 'none', await token('admin', { key: 'x'.repeat(40) })];
  const document = await described(gateway);
  const check = createCheck(document);
  await using pool = disposable(new Pool(management, { connections: atOnce }));
  const requests = requestsTo(document, { ids, doomed: ['scribe', key], tokens }, count, seed);
  t.is(requests.length, count);
  const statuses = new Map<number, number>();
  const wrong: string[] = [];
  const waiting = requests.values();
  const work = async () => {
    for (const request of waiting) {
      const answer = await send(pool, request);
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      const problem = answer.status === 500 ? 'a fault of the gateway' : check(request.operation, answer);
      if (problem)
        wrong.push(
          `${problem}: ${request.operation.method} ${request.path} ${JSON.stringify(request.headers)} ${request.body} -> ${answer.status} ${answer.text.slice(0, 500)}`,
        );
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  t.log(
    `seed ${seed}: ${[...statuses]
      .toSorted(([a], [b]) => a - b)
      .map(([status, each]) => `${each} of ${status}`)
      .join(', ')}`,
  );
  t.deepEqual(wrong.slice(0, 10), [], `${wrong.length} of ${count}, CONTRACT_SEED=${seed}`);
  for (const status of [200, 400, 401, 404, 409])
    t.true((statuses.get(status) ?? 0) > count / 200, `${status} was met with`);
  t.is((await gateway.call('GET', '/health')).status, 200);
});

const disposable = (pool: Pool) => Object.assign(pool, { [Symbol.asyncDispose]: () => pool.destroy() });
