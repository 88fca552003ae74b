import test from 'ava';
import { Redis } from 'ioredis';
import type { ChatInput } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { startService } from '#shared/service.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { question, readMetric, startProxySystem } from '#test/helpers/proxy.ts';
import { Config } from '../../services/llm-proxy/config.ts';
import { start } from '../../services/llm-proxy/main.ts';

const cached = (text: string, more: Partial<ChatInput> = {}): ChatInput => ({
  ...question(text),
  cache: true,
  ...more,
});

test('an equal question is answered from the cache, for nothing, and by any instance', async (t) => {
  await using system = await startProxySystem('openai', {
    script: (_request, count) => ({ text: `Answer ${count}`, usage: { inputTokens: 1_000 } }),
    environment: { LLM_MODEL: 'gpt-4.1' },
    proxies: 2,
  });
  const first = await system.ask(cached('a'));
  t.is(first.facts.cache, 'miss');
  t.true((first.facts.costUsd ?? 0) > 0);
  for (let count = 0; count < 10; count++) {
    const { answer, facts } = await system.ask(cached('a'));
    t.is(answer.text, 'Answer 1');
    t.like(facts, { cache: 'hit', costUsd: 0, model: 'gpt-4.1', usage: { inputTokens: 1_000 } });
  }
  t.is(system.fake.requests.length, 1);
  t.deepEqual(
    (await system.ledger()).map(({ data }) => data.cache),
    ['miss', ...Array<'hit'>(10).fill('hit')],
  );
  t.is(
    (await Promise.all(system.proxies.map(({ port }) => readMetric(port, 'gen_ai_client_token_usage_sum{')))).filter(
      Boolean,
    ).length,
    1,
  );
  t.true(await eventually(async () => (await system.metric('llm_rate_limit_remaining{')) === 99), 'a hit is no call');
});

test('anything that can change an answer makes another question of it', async (t) => {
  await using system = await startProxySystem('anthropic', {
    script: (_request, count) => ({ text: `Answer ${count}` }),
  });
  const tools = [{ name: 'look', description: 'Looks', inputSchema: { type: 'object', properties: { a: {}, b: {} } } }];
  const questions: Partial<ChatInput>[] = [
    cached('a'),
    cached('b'),
    cached('a', { system: 'You are wordy.' }),
    cached('a', { agentId: 'scout' }),
    cached('a', { agentId: 'other' }),
    cached('a', { model: 'claude-other' }),
    cached('a', { temperature: 0.5 }),
    cached('a', { temperature: 0 }),
    cached('a', { maxOutputTokens: 5 }),
    cached('a', { tools }),
    cached('a', { tools, toolChoice: { name: 'look' } }),
    cached('a', {
      messages: [
        { role: 'user', text: 'a' },
        { role: 'assistant', text: 'x', toolCalls: [] },
        { role: 'user', text: 'b' },
      ],
    }),
  ];
  for (const each of questions) t.is((await system.ask(each)).facts.cache, 'miss');
  t.is(system.fake.requests.length, questions.length);
  const same = { ...cached('a', { agentId: 'scout' }), runId: 'run_2', key: 'someone' };
  t.is((await system.ask(same)).facts.cache, 'hit', 'whose run it is and who pays changes nothing');
  const reordered = [
    { inputSchema: { properties: { b: {}, a: {} }, type: 'object' }, description: 'Looks', name: 'look' },
  ];
  t.is((await system.ask(cached('a', { tools: reordered }))).facts.cache, 'hit', 'the order of fields changes nothing');
});

test('only questions that may be repeated are cached, and only answers that are whole', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  const states = async (input: Partial<ChatInput>) => [
    (await system.ask(input)).facts.cache,
    (await system.ask(input)).facts.cache,
  ];
  t.deepEqual(await states(question('a')), ['bypass', 'bypass']);
  t.deepEqual(await states({ ...question('b'), temperature: 0.1 }), ['bypass', 'bypass']);
  t.deepEqual(await states({ ...question('c'), temperature: 0 }), ['miss', 'hit']);
  t.deepEqual(await states({ ...question('d'), temperature: 0, cache: false }), ['bypass', 'bypass']);
  system.fake.play(() => ({ text: 'Ye', stopReason: 'length' }));
  t.deepEqual(await states(cached('e')), ['miss', 'miss']);
  system.fake.play(() => ({ text: 'No.', stopReason: 'content_filter' }));
  t.deepEqual(await states(cached('f')), ['miss', 'miss']);
  system.fake.play(() => ({ text: 'I would rather talk.' }));
  const tools = [{ name: 'verdict', description: '', inputSchema: { type: 'object' } }];
  t.deepEqual(await states(cached('g', { tools, toolChoice: { name: 'verdict' } })), ['miss', 'miss']);
  system.fake.play(() => ({ status: 500 }));
  await t.throwsAsync(system.ask(cached('h')));
  system.fake.play(() => ({ text: 'Yes.' }));
  t.deepEqual(await states(cached('h')), ['miss', 'hit']);
});

test('RESPONSE_CACHE_ENABLED=false passes the cache by', async (t) => {
  await using system = await startProxySystem('openai', {
    script: () => ({ text: 'Yes.' }),
    environment: { RESPONSE_CACHE_ENABLED: 'false' },
  });
  for (let count = 0; count < 2; count++) t.is((await system.ask(cached('a'))).facts.cache, 'bypass');
});

test('an answer is forgotten after RESPONSE_CACHE_TTL', async (t) => {
  await using system = await startProxySystem('anthropic', {
    script: () => ({ text: 'Yes.' }),
    environment: { RESPONSE_CACHE_TTL: '4' },
  });
  const began = Date.now();
  t.is((await system.ask(cached('a'))).facts.cache, 'miss');
  t.is((await system.ask(cached('a'))).facts.cache, 'hit');
  await eventually(async () => (await system.ask(cached('a'))).facts.cache === 'miss');
  t.true(Date.now() - began >= 4_000);
});

test('the cache never holds more than RESPONSE_CACHE_SIZE answers', async (t) => {
  await using system = await startProxySystem('openai', {
    script: () => ({ text: 'Yes.' }),
    environment: { RESPONSE_CACHE_SIZE: '3', RATE_LIMIT_REQUESTS: '1000' },
  });
  const redis = new Redis(system.redis.url);
  try {
    const held = async () => (await redis.keys('{toka:cache}:*')).filter((key) => /:[0-9a-f]{64}$/.test(key)).length;
    for (const text of ['a', 'b', 'c']) await system.ask(cached(text));
    t.is(await held(), 3);
    await Promise.all(Array.from({ length: 40 }, (_, index) => system.ask(cached(`many ${index}`))));
    t.is(await held(), 3);
    t.is(await redis.zcard('{toka:cache}:used'), 3);
    t.is(await redis.zcard('{toka:cache}:due'), 3);
  } finally {
    redis.disconnect();
  }
});

test('what Redis holds is not believed', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  await system.ask(cached('a'));
  const redis = new Redis(system.redis.url);
  try {
    const [entry = ''] = (await redis.keys('{toka:cache}:*')).filter((key) => /:[0-9a-f]{64}$/.test(key));
    const evil = '{"answer":{"text":"Evil"}}';
    const poisons = ['no JSON', evil, '', `toka1 ${Date.now()} ${evil.length} toka/answer\n${evil}`];
    await system.proxies[0]?.[Symbol.asyncDispose]();
    for (const poison of poisons) {
      await redis.set(entry, poison);
      // A new one, which has nothing of its own at hand.
      await using _proxy = await startService('llm-proxy', Config, start, system.environment);
      const { answer, facts } = await system.ask(cached('a'));
      t.is(answer.text, 'Yes.');
      t.is(facts.cache, 'miss');
    }
    t.is(system.fake.requests.length, 1 + poisons.length);
  } finally {
    redis.disconnect();
  }
});

test('no more than RATE_LIMIT_REQUESTS calls begin in a window, however many ask however many proxies', async (t) => {
  const limit = 40;
  await using system = await startProxySystem('anthropic', {
    script: () => ({ text: 'Yes.' }),
    environment: { RATE_LIMIT_REQUESTS: String(limit), RATE_LIMIT_WINDOW: '60', LLM_CONCURRENCY: '1000' },
    proxies: 2,
  });
  t.is(await system.metric('llm_rate_limit_requests{'), limit);
  t.is(await system.metric('llm_rate_limit_remaining{'), limit, 'shown before any call');
  const ends = await Promise.allSettled(Array.from({ length: 300 }, (_, index) => system.ask(question(`${index}`))));
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []));
  t.is(ends.length - failures.length, limit);
  t.is(system.fake.requests.length, limit);
  for (const failure of failures) {
    t.true(failure instanceof Failure && failure.code === 'limited' && /RATE_LIMIT_REQUESTS/.test(failure.message));
    t.true(failure.retryAfterMs > 0 && failure.retryAfterMs <= 62_000);
  }
  t.is((await system.ledger()).length, limit, 'a call that was refused is no call');
  const refused = await Promise.all(system.proxies.map(({ port }) => readMetric(port, 'llm_rate_limited_total{')));
  t.is((refused[0] ?? 0) + (refused[1] ?? 0), 300 - limit);
  t.true(
    refused.every((each) => each !== undefined && each > 0),
    'both proxies had a share',
  );
});

test('the window slides: callers who wait as they are told all get through, and no window holds too many', async (t) => {
  const limit = 10;
  const windowMs = 1_000;
  await using system = await startProxySystem('openai', {
    script: () => ({ text: 'Yes.' }),
    environment: { RATE_LIMIT_REQUESTS: String(limit), RATE_LIMIT_WINDOW: '1' },
    proxies: 2,
  });
  const patient = async (text: string) => {
    for (;;) {
      try {
        return await system.ask(question(text));
      } catch (error) {
        if (!(error instanceof Failure) || error.code !== 'limited') throw error;
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs));
      }
    }
  };
  // A process's first calls take long on their way, for it has yet to load what it makes them with.
  await Promise.all(Array.from({ length: limit }, (_, index) => patient(`first ${index}`)));
  await new Promise((resolve) => setTimeout(resolve, windowMs * 2));
  const before = system.fake.requests.length;
  await Promise.all(Array.from({ length: 25 }, (_, index) => patient(`${index}`)));
  const times = system.fake.requests
    .slice(before)
    .map(({ timeMs }) => timeMs)
    .sort((a, b) => a - b);
  t.is(times.length, 25);
  // Redis counts when a call is let through; the way from there to the provider takes a moment.
  const wayMs = 500;
  for (const [index, time] of times.entries()) {
    const later = times[index + limit];
    t.true(later === undefined || later - time >= windowMs - wayMs, `calls ${index} to ${index + limit}`);
  }
  await eventually(async () => {
    const left = await Promise.all(system.proxies.map(({ port }) => readMetric(port, 'llm_rate_limit_remaining{')));
    return left.every((each) => each === limit);
  });
});

test('without Redis calls go on uncached, and with it again all is as before', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  const ready = async () => {
    const response = await fetch(`http://127.0.0.1:${system.proxies[0]?.port}/health/ready`);
    return { status: response.status, text: await response.text() };
  };
  t.is((await ready()).status, 200);
  await system.ask(cached('a'));
  await system.redis.kill();
  const began = Date.now();
  t.is((await system.ask(cached('b'))).facts.cache, 'bypass');
  t.true(Date.now() - began < 3_000);
  t.is(system.fake.requests.length, 2);
  await eventually(async () => (await system.metric('llm_limits_local{')) === 1);
  const without = await ready();
  t.is(without.status, 200);
  t.regex(without.text, /without Redis/);

  await system.redis.start();
  await eventually(async () => (await system.metric('llm_limits_local{')) === 0);
  const { facts } = await eventually(() => system.ask(cached('a')));
  t.is(facts.cache, 'hit', 'what Redis kept on disk is still there');
  t.is((await system.ask(question('b'))).answer.text, 'Yes.');
  t.notRegex((await ready()).text, /without Redis/);
});

test('a proxy starts without Redis, says so, and finds it later', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  await system.proxies[0]?.[Symbol.asyncDispose]();
  await system.redis.kill();
  await using late = await startService('llm-proxy', Config, start, system.environment);
  const ready = async () => (await fetch(`http://127.0.0.1:${late.port}/health/ready`)).text();
  await eventually(async () => /without Redis/.test(await ready()));
  t.is((await system.ask()).answer.text, 'Yes.');
  await system.redis.start();
  await eventually(async () => !/without Redis/.test(await ready()));
  t.is((await system.ask()).answer.text, 'Yes.');
});

test('a Redis that asks for a password is given REDIS_PASSWORD', async (t) => {
  await using system = await startProxySystem('openai', { script: () => ({ text: 'Yes.' }) });
  const redis = new Redis(system.redis.url);
  await redis.config('SET', 'requirepass', 'password-of-the-tests');
  redis.disconnect();
  await system.proxies[0]?.[Symbol.asyncDispose]();
  const readiness = async (environment: Record<string, string>) => {
    await using proxy = await startService('llm-proxy', Config, start, { ...system.environment, ...environment });
    return (await fetch(`http://127.0.0.1:${proxy.port}/health/ready`)).text();
  };
  t.regex(await readiness({}), /without Redis/);
  t.notRegex(await readiness({ REDIS_PASSWORD: 'password-of-the-tests' }), /without Redis/);
  const url = system.redis.url.replace('//', '//:password-of-the-tests@');
  t.notRegex(await readiness({ REDIS_URL: url }), /without Redis/);
});
