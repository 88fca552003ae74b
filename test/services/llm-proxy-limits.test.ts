import { monitorEventLoopDelay } from 'node:perf_hooks';
import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { TestLimits } from '#test/helpers/limits.ts';
import { startLimits } from '#test/helpers/limits.ts';
import type { Asking } from '../../services/llm-proxy/limits/counters.ts';
import type { Grant } from '../../services/llm-proxy/limits/limits.ts';
import type { Rule } from '../../services/llm-proxy/limits/rule.ts';

const requests = (limit: number, windowMs: number, more: Partial<Rule> = {}): Rule =>
  ({ by: 'endpoint', match: '*', kind: 'requests', limit, windowMs, ...more }) as Rule;
const tokens = (limit: number, windowMs = 60_000): Rule => ({
  by: 'agent',
  match: '*',
  kind: 'tokens',
  limit,
  windowMs,
});
const usd = (limit: number, per: 'day' | 'month' = 'day'): Rule => ({ by: 'key', match: '*', kind: 'usd', limit, per });
const costs = (dollars: number | null, count = 1) => ({ estimate: { tokens: count, usd: dollars } });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again as it is told to, until it may; answers when that was. */
async function patient(limits: TestLimits, at: number): Promise<number> {
  for (;;) {
    try {
      await limits.reserve({}, 0, at);
      return Date.now();
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'limited') throw error;
      await sleep(error.retryAfterMs ?? 0);
    }
  }
}

/** The most of these that lie within any `windowMs`. */
function most(times: readonly number[], windowMs: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.max(...sorted.map((from) => sorted.filter((time) => time >= from && time < from + windowMs).length));
}

// One at a time, and before the others: what else this process does would make it see late.
for (const limit of [50, 2_000])
  test.serial(
    `no window holds more than its ${limit} calls, whichever of three instances lets them through`,
    async (t) => {
      const windowMs = 2_000;
      await using limits = await startLimits([requests(limit, windowMs)], { instances: 3 });
      const callers = Math.min(500, limit * 2);
      const rounds = limit > 1_000 ? 10 : 1;
      const times: number[] = [];
      const lag = monitorEventLoopDelay({ resolution: 10 });
      lag.enable();
      for (let round = 0; round < rounds; round++)
        times.push(...(await Promise.all(Array.from({ length: callers }, (_, index) => patient(limits, index % 3)))));
      t.is(times.length, callers * rounds);
      // What this process was too busy to see at once, it sees closer together than it was.
      const seenMs = windowMs - Math.ceil(lag.max / 1e6);
      t.true(seenMs > windowMs / 4, `a machine too slow for this: ${seenMs} ms are left of the window`);
      t.true(most(times, seenMs) <= limit, `${most(times, seenMs)} in one window`);
    },
  );

test('a refusal names the rule and says when to come again', async (t) => {
  await using limits = await startLimits([requests(2, 60_000, { setting: 'RATE_LIMIT_REQUESTS' } as Partial<Rule>)]);
  await limits.reserve();
  await limits.reserve();
  const failure = await t.throwsAsync<Failure>(limits.reserve(), { code: 'limited' });
  t.is(failure?.message, 'RATE_LIMIT_REQUESTS (2 model calls in 60 seconds) is reached');
  t.true((failure?.retryAfterMs ?? 0) > 58_000 && (failure?.retryAfterMs ?? 0) < 62_000);
});

test('a rule is about one value or about each by itself, and about nobody who has none', async (t) => {
  const rules: Rule[] = [
    { by: 'agent', match: '*', kind: 'requests', limit: 1, windowMs: 60_000 },
    { by: 'workstream', match: 'night', kind: 'requests', limit: 1, windowMs: 60_000 },
  ];
  await using limits = await startLimits(rules);
  await limits.reserve({ agent: 'a' });
  await t.throwsAsync(limits.reserve({ agent: 'a' }), { code: 'limited', message: /limit of the agent "a"/ });
  await limits.reserve({ agent: 'b', workstream: 'night' });
  await t.throwsAsync(limits.reserve({ agent: 'c', workstream: 'night' }), { code: 'limited', message: /"night"/ });
  await limits.reserve({ agent: 'c', workstream: 'day' });
  await limits.reserve();
  await limits.reserve();
  const rule: Rule = { by: 'key', match: 'k', kind: 'requests', limit: 1, windowMs: 60_000 };
  await limits.reserve({ key: 'k', rules: [rule] });
  await t.throwsAsync(limits.reserve({ key: 'k', rules: [rule] }), { code: 'limited', message: /key "k"/ });
});

test('all rules give leave or none counts the call', async (t) => {
  await using limits = await startLimits([requests(5, 60_000), tokens(100)]);
  await limits.reserve({ agent: 'a', ...costs(0, 90) });
  for (let count = 0; count < 10; count++)
    await t.throwsAsync(limits.reserve({ agent: 'a', ...costs(0, 20) }), { code: 'limited', message: /tokens/ });
  for (let count = 0; count < 4; count++) await limits.reserve({ agent: 'b', ...costs(0, 1) });
  await t.throwsAsync(limits.reserve({ agent: 'b' }), { code: 'limited', message: /5 model calls/ });
});

test('tokens count as estimated until they are known, and what never can be is too large', async (t) => {
  await using limits = await startLimits([tokens(1_000)]);
  const first = await limits.reserve({ agent: 'a', ...costs(0, 900) });
  await t.throwsAsync(limits.reserve({ agent: 'a', ...costs(0, 200) }), { code: 'limited' });
  first.settle({ tokens: 300, usd: 0 });
  first.settle({ tokens: 0, usd: 0 });
  const second = await eventually(() => limits.reserve({ agent: 'a', ...costs(0, 700) }));
  await t.throwsAsync(limits.reserve({ agent: 'a', ...costs(0, 1) }), { code: 'limited' });
  second.settle(undefined);
  const third = await eventually(() => limits.reserve({ agent: 'a', ...costs(0, 100) }));
  third.settle({ tokens: 900, usd: 0 });
  await eventually(async () => (await limits.reserve({ agent: 'a', ...costs(0, 1) }).catch(() => 'full')) === 'full');
  await t.throwsAsync(limits.reserve({ agent: 'b', ...costs(0, 1_001) }), {
    code: 'too-large',
    message: /may take 1001 tokens, more than all of the limit of the agent "b"/,
  });
});

test('five hundred callers at once do not pass a budget, which is shared, and whose rest can be spent', async (t) => {
  await using limits = await startLimits([usd(1)], { instances: 3 });
  const ask = (index: number) => limits.reserve({ ...costs(0.03) }, 0, index % 3);
  const ends = await Promise.allSettled(Array.from({ length: 500 }, (_, index) => ask(index)));
  const grants = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  t.is(grants.length, 33);
  const held = await t.throwsAsync<Failure>(ask(0), {
    code: 'limited',
    message: /^calls under way hold what is left of the budget of the key "internal" \(1 US/,
  });
  t.like(held, { retryAfterMs: 1_000, shouldRetry: undefined });
  for (const grant of grants.slice(0, 30)) grant.settle({ tokens: 1, usd: 0.01 });
  // 30 × 0.01 + 3 × 0.03 are spent or spoken for.
  const more: Grant[] = [];
  await eventually(async () => {
    const [grant] = await Promise.all([ask(1).catch(() => undefined)]);
    if (grant) more.push(grant);
    return more.length === 20;
  });
  await t.throwsAsync(ask(2), { code: 'limited' });
  for (const grant of more) grant.settle({ tokens: 1, usd: null });
  await sleep(50);
  await t.throwsAsync(ask(2), { code: 'limited' }, 'what a call cost that does not say counts as estimated');
  for (const grant of grants.slice(30)) grant.settle({ tokens: 1, usd: null });
  const spent = await eventually(async () => {
    const failure = await ask(2).catch((error: Failure) => error);
    return failure instanceof Failure && failure.code === 'spent' && failure;
  });
  t.like(spent, { shouldRetry: false, message: 'the budget of the key "internal" (1 US dollars a day, UTC) is spent' });
  const now = new Date();
  const left = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + 1) - now.getTime();
  t.true(Math.abs((spent.retryAfterMs ?? 0) - left) < 10_000);
  await t.throwsAsync(limits.reserve(costs(null)), { code: 'invalid', message: /"gpt" has no price in MODELS_FILE/ });
  const keys = await limits.redis.keys('*usd*');
  t.is(keys.length, 1);
  t.true((await limits.redis.pttl(keys[0] ?? '')) > left);
});

test('who waits goes by priority, then in turns, and holds up nobody who needs something else', async (t) => {
  const rules: Rule[] = [{ by: 'workstream', match: 'slow', kind: 'requests', limit: 1, windowMs: 600_000 }];
  await using limits = await startLimits(rules, { activeMax: 1 });
  const first = await limits.reserve();
  const order: string[] = [];
  const wait = async (name: string, asking: Partial<Asking>) => {
    const grant = await limits.reserve({ agent: name[0], ...asking }, 10_000);
    order.push(name);
    await sleep(5);
    grant.settle({ tokens: 1, usd: 0 });
  };
  const waiting = [
    wait('a1', { priority: 'low' }),
    ...['b1', 'b2', 'b3'].map((name) => wait(name, {})),
    ...['c1', 'c2'].map((name) => wait(name, {})),
    wait('d1', { priority: 'critical' }),
    wait('s1', { priority: 'high', workstream: 'slow' }),
  ];
  const held = t.throwsAsync(wait('s2', { priority: 'high', workstream: 'slow' }), {
    code: 'limited',
    message: /"slow"/,
  });
  await sleep(50);
  first.settle({ tokens: 1, usd: 0 });
  await Promise.all(waiting);
  t.deepEqual(order, ['d1', 's1', 'b1', 'c1', 'b2', 'c2', 'b3', 'a1']);
  await held;
});

test('who waits leaves at the end of its patience or its own will, and too many do not wait at all', async (t) => {
  await using limits = await startLimits([requests(1, 60_000)], { queueMax: 2 });
  await limits.reserve();
  const began = Date.now();
  const leave = new AbortController();
  const gone = t.throwsAsync(limits.reserve({}, 60_000, 0, leave.signal), { message: 'no longer' });
  const late = t.throwsAsync(limits.reserve({}, 2_000), {
    code: 'limited',
    message: /1 model calls in 60 seconds\) is reached; it waited 2 s \(LLM_QUEUE_TIMEOUT\)/,
  });
  await t.throwsAsync(limits.reserve({}, 300), { code: 'unavailable', message: /LLM_QUEUE_MAX/ });
  leave.abort(new Error('no longer'));
  await gone;
  await late;
  t.true(Date.now() - began < 30_000);
  t.is((await limits.metrics[0]?.llmQueueDepth.get())?.values[0]?.value, 0);
});

test('clients that wait leave room for agents that want to wait', async (t) => {
  const client = { isClient: true, key: 'key_1', estimate: { tokens: 60, usd: 0 } };
  const rule: Rule = { by: 'endpoint', match: '*', kind: 'tokens', limit: 100, windowMs: 60_000 };
  await using limits = await startLimits([rule], { queueMax: 4, agentsShare: 0.5 });
  const first = await limits.reserve(client);
  // What others hold is known a moment later.
  await eventually(async () => {
    const refused = await limits.reserve(client).catch((thrown: unknown) => thrown);
    return refused instanceof Failure && refused.message.startsWith('calls under way hold');
  });
  const leave = new AbortController();
  const wait = (asking: object) => limits.reserve({ ...client, ...asking }, 60_000, 0, leave.signal);
  const agent = { isClient: false, key: 'internal' };
  const waiting = [wait({}), wait({})];
  await t.throwsAsync(wait({}), { code: 'unavailable', message: /^2 calls of clients wait already.*LLM_AGENTS_SHARE/ });
  waiting.push(wait(agent), wait(agent));
  await t.throwsAsync(wait(agent), { code: 'unavailable', message: /^LLM_QUEUE_MAX is reached: 4/ });
  leave.abort(new Error('no longer'));
  for (const each of waiting) await t.throwsAsync(each, { message: 'no longer' });
  first.settle(undefined);
  t.truthy(await eventually(() => limits.reserve(client).catch(() => undefined)));
});

test('a provider that wants to be left alone is, by all, for as long as it says', async (t) => {
  await using limits = await startLimits([], { instances: 2 });
  const headers = (given: Record<string, string>) => (name: string) => given[name];
  limits.all[0]?.observe('openai', 'gpt', 429, headers({ 'retry-after': '3' }));
  const failure = await t.throwsAsync<Failure>(limits.reserve(), { code: 'limited', message: /^openai\/gpt has said/ });
  t.true((failure?.retryAfterMs ?? 0) > 1_000 && (failure?.retryAfterMs ?? 0) <= 3_000);
  await limits.reserve({ model: 'other' });
  await eventually(async () => (await limits.reserve({}, 0, 1).catch(() => 'held')) === 'held', 2_500);
  await limits.reserve({}, 10_000, 1);
  limits.all[1]?.observe(
    'openai',
    'gpt',
    200,
    headers({ 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': '9s' }),
  );
  await limits.reserve({}, 0, 1);
});

test('without Redis each instance keeps to its share, and what it used is counted when Redis is back', async (t) => {
  const rule = requests(30, 60_000);
  await using limits = await startLimits([rule, usd(3)], { instances: 3 });
  for (let count = 0; count < 9; count++) await limits.reserve({ ...costs(0.1) }, 0, count % 3);
  // Each hears of the others and of what they used within a second.
  await sleep(2_500);
  for (let at = 0; at < 3; at++) await limits.reserve({ ...costs(0.1) }, 0, at);
  await limits.server.kill();
  const ends = await Promise.allSettled(
    Array.from({ length: 90 }, (_, index) => limits.reserve({ ...costs(0.05) }, 0, index % 3)),
  );
  const through = ends.filter(({ status }) => status === 'fulfilled').length;
  t.true(through <= 18 && through >= 15, `${through} of the 18 that were left`);
  t.deepEqual(
    limits.all.map((each) => each.state()),
    ['local', 'local', 'local'],
  );
  await limits.server.start();
  await eventually(() => limits.all.every((each) => each.state() === 'shared'));
  await eventually(async () => {
    const [sum] = await limits.redis.hmget('{toka:limit}:requests:endpoint:*openai:60000', 'sum');
    return Number(sum) === 12 + through;
  });
  for (let count = 0; count < 18 - through; count++) await limits.reserve({ ...costs(0) });
  await t.throwsAsync(limits.reserve({ ...costs(0) }), { code: 'limited' });
});
