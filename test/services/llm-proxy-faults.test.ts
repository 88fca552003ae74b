import { fork } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import type { Failure, FailureCode } from '#shared/errors.ts';
import { readRetryAfter } from '#shared/retry-after.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { keyOfTests, startProxySystem, wires } from '#test/helpers/proxy.ts';

type Case = [what: string, reply: FakeReply, code: FailureCode, message: RegExp, retryAfterMs?: number];

const cases: Case[] = [
  ['400', { status: 400, message: 'max_tokens is too large' }, 'invalid', /answered 400: max_tokens is too large$/],
  ['401', { status: 401 }, 'unauthorized', /; check (ANTHROPIC|OPENAI)_API_KEY$/],
  ['403', { status: 403 }, 'unauthorized', /; check (ANTHROPIC|OPENAI)_API_KEY$/],
  ['404', { status: 404 }, 'invalid', /; check the model's name and (ANTHROPIC|OPENAI)_BASE_URL$/],
  ['413', { status: 413 }, 'too-large', /answered 413/],
  ['422', { status: 422 }, 'invalid', /answered 422/],
  ['429 with Retry-After', { status: 429, headers: { 'retry-after': '7' } }, 'limited', /answered 429/, 7_000],
  [
    '429 with retry-after-ms',
    { status: 429, headers: { 'retry-after-ms': '120', 'retry-after': '1' } },
    'limited',
    /429/,
    120,
  ],
  ['429 alone', { status: 429 }, 'limited', /answered 429/],
  ['500', { status: 500 }, 'unavailable', /answered 500: the fake's 500$/],
  ['503 with Retry-After', { status: 503, headers: { 'retry-after': '2' } }, 'unavailable', /answered 503/, 2_000],
  ['529', { status: 529 }, 'unavailable', /answered 529/],
  ['a hang', { fault: 'hang' }, 'timeout', /LLM_TIMEOUT/],
  ['a stall in the middle', { fault: 'stall' }, 'timeout', /LLM_TIMEOUT/],
  ['a connection cut in the middle', { fault: 'cut' }, 'upstream', /cannot be read|cut off/],
  ['an answer that ends in the middle', { fault: 'short' }, 'upstream', /cut off before its end/],
  [
    'a connection reset at the start',
    { fault: 'reset' },
    'unavailable',
    /cannot be reached: .*; check (ANTHROPIC|OPENAI)_BASE_URL$/,
  ],
  ['malformed JSON', { fault: 'malformed' }, 'upstream', /cannot be read/],
  ['a web page', { fault: 'html' }, 'upstream', /cut off before its end/],
  ['an error in the stream', { fault: 'error-event' }, 'unavailable', /Overloaded/],
  ['an answer without end', { text: 'x'.repeat(4_100_000) }, 'upstream', /longer than 4000000 characters/],
  ['a call without a name', { toolCalls: [{ tool: '', raw: '{}' }] }, 'upstream', /without a name|no name/],
];

for (const wire of wires) {
  test(`${wire}: each fault becomes the failure that says what to do`, async (t) => {
    await using system = await startProxySystem(wire, { script: () => ({}), environment: { LLM_TIMEOUT: '2' } });
    for (const [index, [what, reply, code, message, retryAfterMs]] of cases.entries()) {
      system.fake.play(() => reply);
      // A model of each one's own, for one that wants to be left alone is.
      const failure = await t.throwsAsync<Failure>(system.ask({ model: `m-${index}` }), { name: 'Failure' }, what);
      t.is(failure?.code, code, what);
      t.regex(failure?.message ?? '', message, what);
      t.is(failure?.retryAfterMs, retryAfterMs, what);
    }
    t.is(system.fake.requests.length, cases.length, 'nothing is tried again here');

    const ledger = await system.ledger();
    t.deepEqual(
      ledger.map(({ data }) => data.outcome),
      cases.map(([, , code]) => code),
    );
    const costs = new Map(ledger.map(({ data }) => [data.outcome, data.costUsd]));
    t.is(costs.get('upstream'), null, 'it may have been charged');
    t.is(costs.get('timeout'), null);
    t.is(costs.get('invalid'), 0);
    const failed = `llm_requests_total{provider="${wire}",model="other"`;
    t.is(await system.metric(`${failed},outcome="timeout"`), cases.filter(([, , code]) => code === 'timeout').length);

    system.fake.play(() => ({ text: 'Back.' }));
    t.is((await system.ask()).answer.text, 'Back.');
    await system.fake[Symbol.asyncDispose]();
    await t.throwsAsync(system.ask(), { code: 'unavailable', message: /cannot be reached: .*ECONNREFUSED/ });
  });
}

test('retry-after may be a date, and neither a past one nor a far one is taken at its word', (t) => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const read = (value: string) => readRetryAfter(new Headers({ 'retry-after': value }), now);
  t.is(read('Thu, 01 Jan 2026 00:00:30 GMT'), 30_000);
  t.is(read('Wed, 31 Dec 2025 00:00:00 GMT'), 0);
  t.is(read('999999999'), 3_600_000);
  t.is(read('soon'), undefined);
  t.is(readRetryAfter(undefined, now), undefined);
});

test('more calls at a time than LLM_CONCURRENCY are sent away', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using system = await startProxySystem('openai', {
    script: () => promise.then(() => ({ text: 'At last.' })),
    environment: { LLM_CONCURRENCY: '2' },
  });
  const held = [system.ask(), system.ask()];
  await eventually(() => system.fake.requests.length === 2);
  const failure = await t.throwsAsync<Failure>(system.ask(), { code: 'unavailable', message: /LLM_CONCURRENCY/ });
  t.is(failure?.retryAfterMs, 1_000);
  resolve();
  t.is((await Promise.all(held)).length, 2);
  t.is((await system.ask()).answer.text, 'At last.');
});

test('a proxy that is told to stop gives a call at hand SHUTDOWN_GRACE seconds, and then lets go of it', async (t) => {
  await using system = await startProxySystem('anthropic', {
    script: () => ({ fault: 'hang' }),
    environment: { SHUTDOWN_GRACE: '0.3' },
  });
  const asked = t.throwsAsync<Failure>(system.ask(), { code: 'unavailable', message: /is stopping/ });
  await eventually(() => system.fake.requests.length === 1);
  await system.proxies[0]?.[Symbol.asyncDispose]();
  await asked;
  t.is((await system.ledger())[0]?.data.outcome, 'unavailable');
});

for (const wire of wires) {
  test(`${wire}: the key shows neither in logs, nor in failures, nor in events`, async (t) => {
    await using system = await startProxySystem(wire, {
      script: ({ headers, messages }) => {
        const echo = `${'x'.repeat(170)} you sent ${headers.authorization}`;
        return messages[0]?.text === 'fail' ? { status: 401, message: echo } : { text: echo };
      },
    });
    await system.proxies[0]?.[Symbol.asyncDispose]();
    const child = fork('services/llm-proxy/main.ts', {
      env: { PATH: process.env.PATH, ...system.environment, LOG_LEVEL: 'trace', LLM_DEBUG: 'true' },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (output += data));
    try {
      await once(child, 'message');
      const failure = await t.throwsAsync(system.ask({ messages: [{ role: 'user', text: 'fail' }] }), {
        code: 'unauthorized',
      });
      t.regex(failure?.message ?? '', /Bearer \[secret\]/);
      await system.ask();
      await eventually(() => output.split('\n').filter((line) => line.includes('"model call"')).length === 2);
      t.true(output.includes('[secret]'), 'the answer that holds the key is in the log, without it');
    } finally {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    t.false(output.includes(keyOfTests));
    t.false(failureText(await system.ledger()).includes(keyOfTests));
  });
}

const failureText = (value: unknown) => JSON.stringify(value);
