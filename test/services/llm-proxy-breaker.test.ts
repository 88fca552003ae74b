import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { createMetrics } from '#shared/metrics.ts';
import { createBreaker } from '../../services/llm-proxy/breaker.ts';

function setUp() {
  const metrics = createMetrics('llm-proxy', 'test', 10);
  let nowMs = 1_000_000;
  const breaker = createBreaker('openai', metrics, () => nowMs);
  const open = async () => (await metrics.llmBreakerOpen.get()).values[0]?.value;
  const later = (ms: number) => {
    nowMs += ms;
  };
  const fail = (code: 'unavailable' | 'invalid') => breaker.run(() => Promise.reject(new Failure(code, 'no')));
  return { breaker, open, fail, later };
}

test('ten faults in a row hold calls back, and say for how long', async (t) => {
  const { breaker, open, fail } = setUp();
  for (let each = 0; each < 10; each++) await t.throwsAsync(fail('unavailable'), { message: 'no' });
  t.is(await open(), 1);
  const refused = await t.throwsAsync<Failure>(breaker.run(() => Promise.resolve(1)));
  t.is(refused?.code, 'unavailable');
  t.is(refused?.retryAfterMs, 15_000);
});

test('a success, and what is no fault of the provider, keep it closed', async (t) => {
  const { breaker, open, fail } = setUp();
  for (let each = 0; each < 9; each++) await t.throwsAsync(fail('unavailable'));
  t.is(await breaker.run(() => Promise.resolve('fine')), 'fine');
  for (let each = 0; each < 9; each++) await t.throwsAsync(fail('unavailable'));
  for (let each = 0; each < 30; each++) await t.throwsAsync(fail('invalid'));
  t.is(await open(), 0);
});

test('one probe goes through after a while: it closes the breaker, or opens it anew', async (t) => {
  const { breaker, open, fail, later } = setUp();
  for (let each = 0; each < 10; each++) await t.throwsAsync(fail('unavailable'));
  later(15_000);
  const { promise, resolve } = Promise.withResolvers<string>();
  const probe = breaker.run(() => promise);
  await t.throwsAsync(
    breaker.run(() => Promise.resolve(1)),
    { message: /held back/ },
    'only one at a time',
  );
  resolve('back');
  t.is(await probe, 'back');
  t.is(await open(), 0);

  for (let each = 0; each < 10; each++) await t.throwsAsync(fail('unavailable'));
  later(15_000);
  await t.throwsAsync(fail('unavailable'), { message: 'no' }, 'the probe');
  await t.throwsAsync(fail('unavailable'), { message: /held back/ });
});
