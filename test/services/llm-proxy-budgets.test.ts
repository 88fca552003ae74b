import { join } from 'node:path';
import test from 'ava';
import { Redis } from 'ioredis';
import type { Bus } from '#shared/bus/bus.ts';
import { getSpending } from '#shared/contracts/store.ts';
import { newEvent } from '#shared/event.ts';
import { startService } from '#shared/service.ts';
import { facts } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startLimits } from '#test/helpers/limits.ts';
import { modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { readSample } from '#test/helpers/proxy.ts';
import type { TestServer } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Rule } from '../../services/llm-proxy/limits/rule.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

const yes = { text: 'Yes.', usage: { inputTokens: 1_000, outputTokens: 100 } };
const writer = { source: '/toka/test/1', actor: 'service:test' };

const openStore = (nats: TestServer, folder: string) =>
  startService('store', StoreConfig, startStore, {
    NATS_URL: nats.url,
    METRICS_PORT: '0',
    METRICS_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    CONFIG_FILE: 'none',
    DATABASE_FILE: join(folder, 'toka.sqlite'),
  });

/** Each call costs a dollar, of which a key may spend three. */
async function setUp() {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const entry = modelEntry('one', 'openai').replace('input_usd_per_mtok = 0', 'input_usd_per_mtok = 1000');
  const proxy = stack.use(
    await startHttpProxy('openai', {
      script: () => yes,
      environment: { MODELS_FILE: await modelsFileIn(folder, entry) },
      terms: { budget: { usd: 3, per: 'day' }, workstream: 'web' },
    }),
  );
  const redis = new Redis(proxy.redis.url);
  stack.defer(() => redis.disconnect());
  const ask = async () => {
    const answer = await proxy.post('/v1/chat/completions', { ...shortChat, model: 'one' });
    await answer.text();
    return answer.status;
  };
  const owned = stack.move();
  return { proxy, redis, ask, folder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('a Redis that loses its data gives no budget back: what was spent is read from the ledger', async (t) => {
  await using system = await setUp();
  const { proxy, redis, ask } = system;
  await using _store = await openStore(proxy.nats, system.folder);
  t.deepEqual([await ask(), await ask()], [200, 200]);
  await proxy.calls(2);
  await redis.flushall();
  t.is(await ask(), 200, 'the third dollar');
  await proxy.calls(3);
  await redis.flushall();
  t.is(await ask(), 429, 'three dollars are spent');
  t.is(proxy.fake.requests.length, 3);
});

test('a call under way while Redis loses its data is counted when it ends', async (t) => {
  let spent = [0];
  const budget: Rule = { by: 'key', match: '*', kind: 'usd', limit: 1, per: 'month' };
  await using limits = await startLimits([budget], { ledger: async () => spent });
  const cost = (usd: number) => ({ estimate: { tokens: 1, usd } });
  const grant = await limits.reserve(cost(0.6));
  await limits.redis.flushall();
  spent = [300_000];
  (await limits.reserve(cost(0.1))).settle({ tokens: 1, usd: 0.1 });
  grant.settle({ tokens: 1, usd: 0.5 });
  const sum = async () => (await limits.redis.hget((await limits.redis.keys('*usd*'))[0] ?? '', 'sum')) ?? '';
  t.true(await eventually(async () => (await sum()) === '900000'), await sum());
});

test('while the store is away budgets count from now on, which a metric tells, and are mended once it is back', async (t) => {
  await using system = await setUp();
  const { proxy, redis, ask } = system;
  t.is(await ask(), 200);
  t.true(((await readSample(proxy, 'llm_budgets_unread_total')) ?? 0) >= 1);
  t.is(await ask(), 200);
  await proxy.calls(2);
  await redis.flushall();
  await using _store = await openStore(proxy.nats, system.folder);
  const begun = async () => {
    await ask();
    await proxy.calls(proxy.fake.requests.length);
    const [key = ''] = await redis.keys('*usd*');
    return (await redis.hexists(key, 'epoch')) === 1 && redis.hget(key, 'sum');
  };
  t.is(await eventually(begun), String(proxy.fake.requests.length * 1e6), 'all that was ever spent');
});

const today = () => new Date().toISOString().slice(0, 10);
const spenderOf = (by: 'key' | 'model' | 'agent' | 'workstream' | 'endpoint', value: string) => ({
  spenders: [{ by, value, from: today(), to: today() }],
});

test('the store knows what each endpoint, model, agent, workstream and key has spent', async (t) => {
  await using system = await setUp();
  const { proxy } = system;
  await using _store = await openStore(proxy.nats, system.folder);
  const data = { ...facts, provider: 'far', model: 'm-2026-01-02', costUsd: 0.5, agentId: 'scout', runId: 'run_A' };
  const append = (bus: Bus, more: object) =>
    bus.append(
      newEvent(
        { type: 'toka.llm.called.v1', data: { ...data, key: 'internal', outcome: 'ok', ...more } },
        'llm/internal',
        writer,
      ),
    );
  await append(proxy.bus, { requestModel: 'm', workstream: 'web' });
  const minSeq = await append(proxy.bus, { costUsd: null, requestModel: 'm', workstream: 'web' });
  for (const [by, value, usd] of [
    ['endpoint', 'far', 0.5],
    ['model', 'm', 0.5],
    ['model', 'm-2026-01-02', 0],
    ['agent', 'scout', 0.5],
    ['workstream', 'web', 0.5],
    ['key', 'internal', 0.5],
    ['key', 'other', 0],
  ] as const)
    t.deepEqual(
      await proxy.bus.ask(getSpending, { ...spenderOf(by, value), minSeq }),
      { usd: [usd] },
      `${by} ${value}`,
    );
});
