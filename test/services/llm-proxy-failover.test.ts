import { setTimeout as delay } from 'node:timers/promises';
import test from 'ava';
import { ChatRequest } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { createMetrics } from '#shared/metrics.ts';
import { askTarget } from '#test/helpers/contract-call.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { endpointEntry, modelEntry, startModels } from '#test/helpers/models.ts';
import type { Attempt } from '../../services/llm-proxy/failover/attempt.ts';
import { createBreakers } from '../../services/llm-proxy/failover/breakers.ts';
import { createFailoverCounter } from '../../services/llm-proxy/failover/count.ts';
import type { FailoverOptions } from '../../services/llm-proxy/failover/first-that-answers.ts';
import { firstThatAnswers } from '../../services/llm-proxy/failover/first-that-answers.ts';
import { createModelLabel } from '../../services/llm-proxy/models/label.ts';

const request = ChatRequest.parse({ system: 'Be terse.', messages: [{ role: 'user', text: 'Hello?' }] });

/** A call as our own agents make it. */
const ask: Attempt<string> = (target, signal, marks) => askTarget(target, request, signal, marks);

/** Two endpoints, "a" and "b", each a server of its own; model "m" is at "a", and has "n" at "b" for its fallback. */
async function setUp(more = '') {
  await using stack = new AsyncDisposableStack();
  const [a, b] = [stack.use(await startFakeProvider()), stack.use(await startFakeProvider())];
  const text = [
    endpointEntry('a', `api_key = "A_KEY"\n${more}`, a.openAiUrl),
    endpointEntry('b', '', b.openAiUrl),
    modelEntry('m', 'openai', 'endpoints = ["a"]\nfallbacks = ["n"]'),
    modelEntry('n', 'openai', 'endpoints = ["b"]'),
    modelEntry('alone', 'openai', 'endpoints = ["a"]'),
  ].join('\n');
  const { models } = stack.use(await startModels(text, { A_KEY: 'key-of-endpoint-a' }));
  const metrics = createMetrics('llm-proxy', 'test', 10);
  const breakers = createBreakers(metrics);
  const call = (model: string, options: Partial<FailoverOptions> = {}, attempt: Attempt<string> = ask) =>
    firstThatAnswers(models.targets(model), attempt, {
      deadlineMs: performance.now() + 20_000,
      retriesMax: 2,
      signal: new AbortController().signal,
      breakers,
      random: () => 0,
      ...createFailoverCounter(metrics, createModelLabel()),
      ...options,
    });
  const metric = async (name: 'llmRetries' | 'llmFallbacks') =>
    (await metrics[name].get()).values.map(({ labels, value }) => [...Object.values(labels), value]);
  const owned = stack.move();
  return { a, b, call, metric, breakers, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const replies =
  (...all: FakeReply[]) =>
  (_: unknown, count: number): FakeReply =>
    all[Math.min(count, all.length) - 1] ?? {};

test('a fault that passes is tried again at the same endpoint, with its key', async (t) => {
  await using system = await setUp();
  system.a.play(replies({ status: 503 }, { fault: 'reset' }, { text: 'At last.' }));
  t.is(await system.call('m'), 'At last.');
  t.is(system.a.requests.length, 3);
  t.is(system.a.requests[0]?.headers.authorization, 'Bearer key-of-endpoint-a');
  t.is(system.b.requests.length, 0);
  t.deepEqual(await system.metric('llmRetries'), [['a', 'unavailable', 2]]);
});

test('one that does not pass goes on to the fallback, under its own name', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ status: 500 }));
  system.b.play(() => ({ text: 'From the other.' }));
  t.is(await system.call('m'), 'From the other.');
  t.is(system.a.requests.length, 3, 'the first, and two retries');
  t.is(system.b.requests[0]?.model, 'n');
  t.deepEqual(await system.metric('llmFallbacks'), [['a/m', 'b/n', 1]]);
});

test('who got leave too late is not asked any more, and gives it back', async (t) => {
  await using system = await setUp();
  const endings: boolean[] = [];
  const deadlineMs = performance.now() + 500;
  const admit = async () => {
    await delay(600);
    return ({ reached }: { reached: boolean }) => void endings.push(reached);
  };
  await t.throwsAsync(system.call('m', { deadlineMs, admit }), { code: 'timeout', message: /no time left/ });
  t.deepEqual(endings, [false]);
  t.is(system.a.requests.length + system.b.requests.length, 0);
});

const notRetried: [FakeReply, code: string, asksNext: boolean][] = [
  [{ status: 400 }, 'invalid', false],
  [{ status: 413 }, 'too-large', false],
  [{ status: 401 }, 'unauthorized', true],
];
for (const [reply, code, asksNext] of notRetried)
  test(`${code} is not tried again${asksNext ? ', but another may do' : ', and nobody else is asked'}`, async (t) => {
    await using system = await setUp();
    system.a.play(() => reply);
    system.b.play(() => ({ text: 'Welcome.' }));
    if (asksNext) t.is(await system.call('m'), 'Welcome.');
    else await t.throwsAsync(system.call('m'), { code });
    t.is(system.a.requests.length, 1);
    t.is(system.b.requests.length, asksNext ? 1 : 0);
  });

test('an answer that is cut off is tried again once where nobody has seen any of it, and never where somebody has', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ fault: 'cut' }));
  await t.throwsAsync(system.call('alone'), { code: 'upstream' });
  t.is(system.a.requests.length, 2);
  const showing: Attempt<string> = async (target, signal, marks) => {
    marks.sent();
    return ask(target, signal, marks);
  };
  await t.throwsAsync(system.call('m', {}, showing), { code: 'upstream' });
  t.is(system.a.requests.length, 3);
  t.is(system.b.requests.length, 0);
});

test('Retry-After is waited for where there is nobody else, and within it nobody asks again', async (t) => {
  await using system = await setUp();
  system.a.play(replies({ status: 429, headers: { 'retry-after-ms': '400' } }, { text: 'Now.' }));
  t.is(await system.call('alone'), 'Now.');
  const [first, second] = system.a.requests.map(({ timeMs }) => timeMs);
  t.true((second ?? 0) - (first ?? 0) >= 395, `${(second ?? 0) - (first ?? 0)} ms`);
});

test('a Retry-After that is long goes to another endpoint; one beyond the deadline is told to the caller', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ status: 429, headers: { 'retry-after': '30' } }));
  system.b.play(() => ({ text: 'Here.' }));
  t.is(await system.call('m'), 'Here.');
  t.is(system.a.requests.length, 1);
  const failure = await t.throwsAsync<Failure>(system.call('alone'), { code: 'limited' });
  t.is(failure?.retryAfterMs, 30_000);
  t.is(system.a.requests.length, 2);
});

test('an endpoint that does not begin to answer in time is left, and one that has begun may take longer', async (t) => {
  await using system = await setUp('first_byte_timeout = 1\ntimeout = 3');
  system.a.play(() => ({ fault: 'hang' }));
  system.b.play(() => ({ text: 'Awake.' }));
  t.is(await system.call('m', { retriesMax: 1 }), 'Awake.');
  t.is(system.a.requests.length, 2);
  await t.throwsAsync(system.call('alone', { retriesMax: 0 }), {
    code: 'timeout',
    message: /a did not begin to answer within 1 s; see .*first_byte_timeout/,
  });
  system.a.play(() => ({ fault: 'stall' }));
  const began = performance.now();
  await t.throwsAsync(system.call('m'), { code: 'timeout', message: /sent no more of its answer within 3 s/ });
  t.true(performance.now() - began >= 2_990, 'it had the time between two pieces, for it had begun');
  t.is(system.b.requests.length, 1, 'what was paid for is not asked for again');
});

test('the deadline ends all, with targets left or not', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ fault: 'hang' }));
  const began = performance.now();
  await t.throwsAsync(system.call('m', { deadlineMs: began + 1_500 }), { code: 'timeout' });
  t.true(performance.now() - began < 4_000);
  t.is(system.a.requests.length, 1);
  t.is(system.b.requests.length, 0);
  await t.throwsAsync(system.call('m', { deadlineMs: performance.now() - 1 }), {
    code: 'timeout',
    message: /no time left/,
  });
  t.is(system.a.requests.length, 1, 'no call begins that must end at once');
});

test('who called off gets the own reason at once: in a call, in a wait, and from an attempt that does not listen', async (t) => {
  await using system = await setUp();
  const left = new Failure('invalid', 'the client has left');
  const callOff = async (reply: FakeReply, attempt?: Attempt<string>) => {
    const { length } = system.a.requests;
    system.a.play(() => reply);
    const over = new AbortController();
    const calling = system.call('alone', { signal: over.signal }, attempt);
    const thrown = t.throwsAsync(calling, { is: left });
    await eventually(() => system.a.requests.length === length + 1);
    const began = performance.now();
    over.abort(left);
    await thrown;
    return performance.now() - began;
  };
  t.true((await callOff({ fault: 'hang' })) < 500);
  t.true((await callOff({ status: 429, headers: { 'retry-after': '10' } })) < 500);
  const deaf: Attempt<string> = (target) => askTarget(target, request, new AbortController().signal);
  t.true((await callOff({ fault: 'hang' }, deaf)) < 2_000);
});

test('an open breaker is passed by without a call, and when all are open that is said', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ status: 500 }));
  system.b.play(() => ({ text: 'Here.' }));
  for (let each = 0; each < 10; each++) t.is(await system.call('m'), 'Here.');
  t.is(system.a.requests.length, 30, 'ten calls failed, with three tries each');
  t.is(await system.call('m'), 'Here.');
  t.is(system.a.requests.length, 30);
  const failure = await t.throwsAsync<Failure>(system.call('alone'), {
    code: 'held-back',
    message: /a has failed 10 times in a row; calls are held back for a while. The last time: a answered 500/,
  });
  t.true((failure?.retryAfterMs ?? 0) > 10_000);
});

test('when nobody answers, the failure tells what was tried', async (t) => {
  await using system = await setUp();
  system.a.play(() => ({ status: 503, message: 'maintenance' }));
  system.b.play(() => ({ status: 401 }));
  await t.throwsAsync(system.call('m'), {
    code: 'unavailable',
    message: 'a answered 503: maintenance (2 targets were tried: a/m, b/n)',
  });
});

test('a bug is thrown as it is, and nothing is tried anew', async (t) => {
  await using system = await setUp();
  let calls = 0;
  const broken: Attempt<string> = () => {
    calls += 1;
    throw new TypeError('a bug');
  };
  await t.throwsAsync(system.call('m', {}, broken), { instanceOf: TypeError });
  t.is(calls, 1);
});
