import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import test from 'ava';
import OpenAI from 'openai';
import { isLlmEvent } from '#shared/contracts/events.ts';
import { startService } from '#shared/service.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { startLimits } from '#test/helpers/limits.ts';
import { modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { readSample } from '#test/helpers/proxy.ts';
import { connectRedis, passwordOf, violations } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Rule } from '../../services/llm-proxy/limits/rule.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

const budgetUsd = 2;
/** What a call costs, a hundredth of a dollar; it may be ten times as much beforehand. */
const usage = { inputTokens: 0, outputTokens: 10 };

/** Services with their own rights alone, a key with a budget, and a Redis that may be emptied. */
async function setUp({ proxies = 1, delayMs = 60, waitS = '0' } = {}) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const entry = modelEntry('one', 'openai').replace('output_usd_per_mtok = 0', 'output_usd_per_mtok = 1000');
  const script = async () => {
    await delay(delayMs);
    return { text: 'Yes.', usage };
  };
  const proxy = stack.use(
    await startHttpProxy('openai', {
      ...{ script, proxies, hasUsers: true },
      environment: {
        MODELS_FILE: await modelsFileIn(folder, entry),
        LLM_CONCURRENCY: '400',
        RATE_LIMIT_REQUESTS: '100000',
        LLM_CLIENT_QUEUE_TIMEOUT: waitS,
      },
      terms: { budget: { usd: budgetUsd, per: 'day' } },
    }),
  );
  stack.use(
    await startService('store', StoreConfig, startStore, {
      ...{ NATS_URL: proxy.nats.url, NATS_USER: 'store', NATS_PASSWORD: passwordOf('store') },
      ...{ METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent', CONFIG_FILE: 'none' },
      DATABASE_FILE: join(folder, 'toka.sqlite'),
    }),
  );
  const redis = stack.adopt(await connectRedis(proxy.redis.url), (client) => client.disconnect());
  const body = JSON.stringify({ ...shortChat, model: 'one', max_tokens: 90 });
  const headers = { authorization: `Bearer ${proxy.key.secret}`, 'content-type': 'application/json' };
  const ask = async (at = 0) => {
    const answer = await fetch(`${proxy.urls[at]}/v1/chat/completions`, { method: 'POST', headers, body });
    return { status: answer.status, headers: answer.headers, text: await answer.text() };
  };
  const spent = async () => {
    const events = (await proxy.bus.read('llm', proxy.key.id)).filter(isLlmEvent);
    return events.reduce((sum, { data }) => sum + (data.costUsd ?? Number.NaN), 0);
  };
  const owned = stack.move();
  return { proxy, redis, ask, spent, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

for (const proxies of [1, 2])
  test(`fifty callers at once never pass a budget while Redis loses its data again and again (llm-proxies: ${proxies})`, async (t) => {
    await using system = await setUp({ proxies });
    const { proxy, redis, ask, spent } = system;
    let isOver = false;
    const statuses = new Map<number, number>();
    const caller = async (index: number) => {
      while (!isOver) {
        const { status } = await ask(index % proxies);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status !== 200) await delay(20);
      }
    };
    const callers = Array.from({ length: 50 }, (_, index) => caller(index));
    for (let loss = 0; loss < 5; loss++) {
      await delay(700 + 300 * loss);
      await redis.flushall();
    }
    await eventually(async () => (await ask()).text.includes('insufficient_quota'));
    isOver = true;
    await Promise.all(callers);
    await eventually(async () => Math.abs((await spent()) - proxy.fake.requests.length * 0.01) < 1e-9);
    const sum = await spent();
    t.true(sum <= budgetUsd + 1e-9, `${sum} spent of ${budgetUsd}`);
    t.true(sum >= budgetUsd - 0.1 - 1e-9, `${sum} spent of ${budgetUsd}: the rest could have been`);
    t.deepEqual([...statuses.keys()].toSorted(), [200, 429]);
    t.is(await readSample(proxy, 'llm_budgets_unread_total'), 0, 'the ledger was read each time');
    t.deepEqual(violations(proxy.nats), []);
    const last = await ask();
    t.is(last.status, 429);
    t.is(last.headers.get('x-should-retry'), 'false');
    t.is(last.headers.get('retry-after'), null);
  });

test('a budget that is only held is free in a moment: the call waits, or is told to come again in a second', async (t) => {
  await using system = await setUp({ delayMs: 800, waitS: '20' });
  const { ask } = system;
  const all = await Promise.all(Array.from({ length: 50 }, () => ask()));
  t.deepEqual(
    [...new Set(all.map(({ status }) => status))],
    [200],
    'what is held by twenty calls is theirs for a moment',
  );
});

test('calls under way when Redis loses its data are held in the new count, each once', async (t) => {
  let ledger = 0;
  const rule: Rule = { by: 'key', match: '*', kind: 'usd', limit: 1, per: 'day' };
  await using limits = await startLimits([rule], { ledger: async (counters) => counters.map(() => ledger * 1e6) });
  const cost = (usd: number) => ({ estimate: { tokens: 1, usd } });
  const recorded = Promise.withResolvers<void>();
  const running = await limits.reserve({ ...cost(0.5), recorded: recorded.promise });
  const ending = await limits.reserve({ ...cost(0.3), recorded: recorded.promise });
  ending.settle({ tokens: 1, usd: 0.2 });
  await limits.redis.flushall();
  const asked = limits.reserve(cost(0.4));
  await delay(50);
  // Its event is in the ledger now, and only then is that read.
  ledger = 0.2;
  recorded.resolve();
  await t.throwsAsync(asked, { code: 'limited', message: /^calls under way hold/ });
  (await limits.reserve(cost(0.3))).settle(undefined);
  running.settle({ tokens: 1, usd: 0.1 });
  const key = async () => (await limits.redis.keys('*usd*'))[0] ?? '';
  t.truthy(await eventually(async () => (await limits.redis.hget(await key(), 'sum')) === '300000'));
});

test('a spent budget is told in each wire’s own words, and no SDK sleeps until midnight', async (t) => {
  await using proxy = await startHttpProxy('anthropic', {
    script: () => ({ text: 'Yes.', usage: { inputTokens: 9, outputTokens: 9 } }),
    environment: { MODELS_FILE: 'config/models.toml' },
    terms: { budget: { usd: 0.003, per: 'day' } },
  });
  const options = { apiKey: proxy.key.secret, logLevel: 'off' as const };
  const claude = new Anthropic({ ...options, baseURL: proxy.url });
  const openai = new OpenAI({ ...options, baseURL: `${proxy.url}/v1` });
  const model = 'claude-sonnet-4-6';
  const ask = () => claude.messages.create({ ...shortMessages, model, max_tokens: 100 });
  const isLeft = () =>
    ask().then(
      () => true,
      () => false,
    );
  while (await isLeft());
  const began = performance.now();
  const failure = await t.throwsAsync<InstanceType<typeof Anthropic.RateLimitError>>(ask(), {
    instanceOf: Anthropic.RateLimitError,
  });
  const body = failure?.error as { error?: object } | undefined;
  t.like(body?.error, { type: 'rate_limit_error', details: { error_code: 'enforced_spend_limit_reached' } });
  const chat = openai.chat.completions.create({ model, max_tokens: 100, messages: [{ role: 'user', content: 'x' }] });
  const told = await t.throwsAsync<InstanceType<typeof OpenAI.RateLimitError>>(chat, {
    instanceOf: OpenAI.RateLimitError,
  });
  t.like(told, { code: 'insufficient_quota', type: 'insufficient_quota' });
  t.true(performance.now() - began < 1_500, 'neither tried again');
});
