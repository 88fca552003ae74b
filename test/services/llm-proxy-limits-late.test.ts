import test from 'ava';
import { createMetrics } from '#shared/metrics.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startLimits } from '#test/helpers/limits.ts';
import { endpointEntry, modelEntry, startModels } from '#test/helpers/models.ts';
import { createBreakers } from '../../services/llm-proxy/failover/breakers.ts';
import type { Rule } from '../../services/llm-proxy/limits/rule.ts';
import { askModel } from '../../services/llm-proxy/pipeline/ask-model.ts';

const windowMs = 4_000;
const rule: Rule = { by: 'endpoint', match: '*', kind: 'requests', limit: 3, windowMs };
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Calls to a model on one limit; `times`: when each was really asked. */
async function setUp() {
  await using stack = new AsyncDisposableStack();
  const text = [endpointEntry('a', '', 'http://127.0.0.1:9'), modelEntry('m', 'openai', 'endpoints = ["a"]')].join(
    '\n',
  );
  const { models } = stack.use(await startModels(text, {}));
  const { all } = stack.use(await startLimits([rule]));
  const [limits] = all;
  if (!limits) throw new Error('there are no limits');
  const breakers = createBreakers(createMetrics('llm-proxy', 'test', 10));
  const asker = { limits, breakers, retriesMax: 0, timeoutMs: 30_000, onFirst: () => undefined };
  const times: number[] = [];
  const ask = (check?: () => Promise<void>) =>
    askModel(
      asker,
      {
        ...{ targets: models.targets('m'), who: { key: 'internal', priority: 'medium' }, waitMs: 30_000 },
        ...{ size: () => ({ inputTokens: 1, outputTokens: 1 }), signal: new AbortController().signal },
        ...(check ? { check } : {}),
      },
      async (_, __, marks) => {
        marks.reached();
        times.push(performance.now());
      },
    );
  const owned = stack.move();
  return { times, ask, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('leave that lay too long, while the log was slow to answer, does not put two windows into one', async (t) => {
  await using system = await setUp();
  const { times, ask } = system;
  let checks = 0;
  // These have leave at once, and are held up by their check until the window is nearly over.
  const held = [1, 2, 3].map(() =>
    ask(async () => {
      checks += 1;
      if (checks <= 3) await sleep(windowMs);
    }),
  );
  // Others get theirs as soon as the first leave is a window old.
  await sleep(100);
  await Promise.all([...held, ask(), ask(), ask()]);
  t.is(times.length, 6);
  const sorted = times.toSorted((a, b) => a - b);
  const spanMs = (sorted[3] ?? 0) - (sorted[0] ?? 0);
  t.true(spanMs > windowMs * 0.75, `the fourth call came ${Math.round(spanMs)} ms after the first`);
});

test('where every check is slow, calls are made all the same', async (t) => {
  await using system = await setUp();
  let checks = 0;
  await system.ask(async () => {
    checks += 1;
    await sleep(1_200);
  });
  t.is(system.times.length, 1);
  t.true(checks < 5, 'leave is asked for again, and the check was made a moment ago');
});

test('who stood still for a while does not take Redis to be away, and counts alone', async (t) => {
  await using limits = await startLimits([rule], { instances: 2 });
  await eventually(async () => (await limits.redis.zcard('{toka:limit}:instances')) === 2);
  await limits.reserve();
  // Both are under way while this process is stopped for longer than Redis is waited for.
  const taking = limits.reserve();
  await new Promise(setImmediate);
  const untilMs = performance.now() + 2_500;
  while (performance.now() < untilMs);
  await taking;
  t.is(limits.all[0]?.state(), 'shared');
  // Where it is away, that is seen.
  await limits.server.kill();
  await limits.reserve().catch(() => undefined);
  t.is(limits.all[0]?.state(), 'local');
});
