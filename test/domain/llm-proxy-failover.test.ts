import test from 'ava';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, statusOf } from '#shared/errors.ts';
import { createMetrics } from '#shared/metrics.ts';
import { createBreakers } from '../../services/llm-proxy/failover/breakers.ts';
import type { Circumstances } from '../../services/llm-proxy/failover/verdict.ts';
import { judge, summarize } from '../../services/llm-proxy/failover/verdict.ts';

const now: Circumstances = { retries: 0, retriesMax: 2, began: false, more: false, leftMs: 60_000, random: 0.5 };
const failed = (code: FailureCode, retryAfterMs?: number) => new Failure(code, `it is ${code}`, { retryAfterMs });
const codes = Object.keys(statusOf).filter((code): code is FailureCode => code in statusOf);

test('what may pass is tried again, what another may do better goes on, and everything else ends the call', (t) => {
  const by = (step: string) => codes.filter((code) => judge(failed(code), now).step === step);
  t.deepEqual(by('again'), ['timeout', 'limited', 'upstream', 'unavailable']);
  t.deepEqual(by('next'), ['unauthorized', 'not-found']);
  t.is(by('stop').length, codes.length - 6);
  t.is(judge(new TypeError('a bug'), now).step, 'stop');
});

test('retries end at their limit, an answer that cannot be read is worth one, and one that took all its time none', (t) => {
  t.is(judge(failed('unavailable'), { ...now, retries: 2 }).step, 'next');
  t.is(judge(failed('upstream'), { ...now, retries: 1 }).step, 'next');
  t.is(judge(failed('upstream'), { ...now, retriesMax: 0 }).step, 'next');
  t.is(judge(failed('timeout'), { ...now, began: true }).step, 'stop');
});

test('the waits grow with full jitter up to a ceiling, and never outlast the deadline', (t) => {
  const waits = [0, 1, 2, 3, 20].map((retries) => {
    const verdict = judge(failed('unavailable'), { ...now, retries, retriesMax: 100, random: 0.999_999 });
    return verdict.step === 'again' ? verdict.afterMs : verdict.step;
  });
  t.deepEqual(waits, [250, 500, 1_000, 2_000, 8_000]);
  t.deepEqual(judge(failed('unavailable'), { ...now, random: 0 }), { step: 'again', afterMs: 0 });
  t.is(judge(failed('unavailable'), { ...now, leftMs: 125 }).step, 'next');
});

test('Retry-After is a floor: waited for where there is time and nobody else, and never undercut', (t) => {
  for (const random of [0, 0.5, 0.999]) {
    const verdict = judge(failed('limited', 7_000), { ...now, random });
    t.true(verdict.step === 'again' && verdict.afterMs >= 7_000 && verdict.afterMs <= 7_250);
  }
  t.is(judge(failed('limited', 7_000), { ...now, leftMs: 6_000 }).step, 'next');
  t.is(judge(failed('limited', 7_000), { ...now, more: true }).step, 'next', 'another target need not wait so long');
  t.is(judge(failed('limited', 1_500), { ...now, more: true }).step, 'again');
});

test('of many failures the one that may pass and says most is told, with who was asked and the shortest wait', (t) => {
  const of = (code: FailureCode, at: string, retryAfterMs?: number, refused = false) => ({
    ...{ failure: failed(code, retryAfterMs), at, refused },
  });
  const only = of('unauthorized', 'a/m');
  t.is(summarize([only]), only.failure, 'the very same');
  const summary = summarize([
    of('limited', 'a/m', 9_000),
    of('unavailable', 'b/m', 4_000, true),
    of('unauthorized', 'c/n'),
  ]);
  t.like(summary, {
    code: 'limited',
    message: 'it is limited (3 targets were tried: a/m, b/m, c/n)',
    retryAfterMs: 4_000,
  });
  t.is(summarize([of('unauthorized', 'a/m'), of('not-found', 'b/m')]).code, 'unauthorized');
  t.is(summarize([of('unavailable', 'a/m', 1, true), of('not-found', 'b/m')]).code, 'not-found');
  t.is(summarize([]).code, 'unavailable');
});

function setUpBreakers() {
  const metrics = createMetrics('llm-proxy', 'test', 10);
  let nowMs = 1_000_000;
  const breakers = createBreakers(metrics, () => nowMs);
  const later = (ms: number) => {
    nowMs += ms;
  };
  const open = async (provider: string) =>
    (await metrics.llmBreakerOpen.get()).values.find(({ labels }) => labels.provider === provider)?.value;
  const fail = (endpoint: string, code: FailureCode, signal?: AbortSignal) =>
    breakers.of(endpoint).run(() => Promise.reject(failed(code)), signal);
  return { breakers, later, open, fail };
}

test('ten faults in a row open the breaker of that endpoint alone', async (t) => {
  const { breakers, open, fail } = setUpBreakers();
  for (let each = 0; each < 9; each++) await t.throwsAsync(fail('a', 'unavailable'));
  t.is(await breakers.of('a').run(() => Promise.resolve('fine')), 'fine', 'a success begins the count anew');
  for (let each = 0; each < 10; each++) await t.throwsAsync(fail('a', each % 2 ? 'timeout' : 'unavailable'));
  for (let each = 0; each < 30; each++) await t.throwsAsync(fail('b', 'invalid'));
  t.is(await open('a'), 1);
  t.is(await open('b'), 0);
  t.like(breakers.of('a').refusal(), { code: 'unavailable', retryAfterMs: 15_000 });
  t.is(breakers.of('b').refusal(), undefined);
});

test('after fifteen seconds one probe goes through: its end closes the breaker or opens it anew', async (t) => {
  const { breakers, later, open, fail } = setUpBreakers();
  const openUp = async () => {
    for (let each = 0; each < 10; each++) await t.throwsAsync(fail('a', 'unavailable'));
  };
  await openUp();
  later(14_999);
  t.truthy(breakers.of('a').refusal());
  later(1);
  const { promise, resolve } = Promise.withResolvers<string>();
  const probe = breakers.of('a').run(() => promise);
  await t.throwsAsync(fail('a', 'unavailable'), { message: /held back/ }, 'only one at a time');
  resolve('back');
  t.is(await probe, 'back');
  t.is(await open('a'), 0);

  await openUp();
  later(15_000);
  await t.throwsAsync(fail('a', 'unavailable'), { message: 'it is unavailable' }, 'the probe');
  await t.throwsAsync(fail('a', 'unavailable'), { message: /held back/ });
});

test('a probe that got any answer closes the breaker; one that was called off leaves it to the next', async (t) => {
  const { breakers, later, open, fail } = setUpBreakers();
  for (let each = 0; each < 10; each++) await t.throwsAsync(fail('a', 'unavailable'));
  later(15_000);
  await t.throwsAsync(fail('a', 'unavailable', AbortSignal.abort()), { message: 'it is unavailable' });
  t.is(await open('a'), 1);
  t.is(breakers.of('a').refusal(), undefined, 'the next one is a probe again');
  await t.throwsAsync(fail('a', 'invalid'));
  t.is(await open('a'), 0);
});

test('endpoints that come and go do not pile up', async (t) => {
  const { breakers, open } = setUpBreakers();
  for (let each = 0; each < 1_000; each++) breakers.of(`endpoint-${each}`);
  t.is(await open('endpoint-0'), undefined);
  t.is(await open('endpoint-999'), 0);
});
