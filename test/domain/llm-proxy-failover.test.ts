import test from 'ava';
import type { FailureCode } from '#shared/errors.ts';
import { Failure, statusOf } from '#shared/errors.ts';
import { createMetrics } from '#shared/metrics.ts';
import { createBreakers } from '../../services/llm-proxy/failover/breakers.ts';
import type { Circumstances } from '../../services/llm-proxy/failover/verdict.ts';
import { judge, summarize } from '../../services/llm-proxy/failover/verdict.ts';

const calm = { retries: 0, retriesMax: 2, isPatient: true, began: false, more: false };
const now: Circumstances = { ...calm, leftMs: 60_000, random: 0.5 };
const advice = { isPatient: true, retriesMax: 0 };
const failed = (code: FailureCode, retryAfterMs?: number) => new Failure(code, `it is ${code}`, { retryAfterMs });
const codes = Object.keys(statusOf).filter((code): code is FailureCode => code in statusOf);

test('what may pass is tried again, what another may do better goes on, and everything else ends the call', (t) => {
  const by = (step: string) => codes.filter((code) => judge(failed(code), now).step === step);
  t.deepEqual(by('again'), ['timeout', 'limited', 'upstream', 'unavailable']);
  t.deepEqual(by('next'), ['unauthorized', 'unpaid', 'not-found']);
  t.is(by('stop').length, codes.length - 7);
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
  t.is(summarize([only], advice), only.failure, 'the very same');
  const summary = summarize(
    [of('limited', 'a/m', 9_000), of('unavailable', 'b/m', 4_000, true), of('unauthorized', 'c/n')],
    advice,
  );
  t.like(summary, {
    code: 'limited',
    message: 'it is limited (3 targets were tried: a/m, b/m, c/n)',
    retryAfterMs: 4_000,
  });
  t.is(summarize([of('unauthorized', 'a/m'), of('not-found', 'b/m')], advice).code, 'unauthorized');
  t.is(summarize([of('held-back', 'a/m', 1, true), of('not-found', 'b/m')], advice).code, 'not-found');
  t.is(summarize([], advice).code, 'unavailable');
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
  /** One call that goes through, and ends so; undefined: it tells nothing. Answers why it could not. */
  const call = (endpoint: string, code: FailureCode | 'fine' | undefined, request?: string) => {
    const breaker = breakers.of(endpoint);
    const refusal = breaker.refusal();
    if (refusal) return refusal;
    const pass = breaker.enter();
    if (code === 'fine') pass.succeed();
    else if (code) pass.fail(failed(code), request === undefined ? undefined : () => request);
    pass.end();
    return undefined;
  };
  return { breakers, later, open, call };
}

test('ten faults in a row open the breaker of that endpoint alone', async (t) => {
  const { breakers, open, call } = setUpBreakers();
  for (let each = 0; each < 9; each++) call('a', 'unavailable');
  call('a', 'fine');
  t.is(await open('a'), 0, 'a success begins the count anew');
  for (let each = 0; each < 10; each++) t.is(call('a', each % 2 ? 'timeout' : 'unavailable'), undefined);
  for (let each = 0; each < 30; each++) call('b', 'invalid');
  t.is(await open('a'), 1);
  t.is(await open('b'), 0);
  t.like(breakers.of('a').refusal(), { code: 'held-back', retryAfterMs: 15_000 });
  t.regex(breakers.of('a').refusal()?.message ?? '', /a has failed 10 times in a row.*The last time: it is timeout$/);
  t.is(breakers.of('b').refusal(), undefined);
});

test('one request that fails wherever it comes counts once, so it holds nobody else back', async (t) => {
  const { open, call } = setUpBreakers();
  for (let each = 0; each < 100; each++) t.is(call('a', 'unavailable', 'the bad one'), undefined);
  t.is(await open('a'), 0);
  for (let each = 0; each < 8; each++) call('a', 'unavailable', `other ${each}`);
  t.is(await open('a'), 0);
  call('a', 'unavailable', 'one more');
  t.is(await open('a'), 1, 'ten that are different speak against the endpoint');
});

test('after fifteen seconds one probe goes through: its end closes the breaker or opens it anew', async (t) => {
  const { breakers, later, open, call } = setUpBreakers();
  const openUp = () => {
    for (let each = 0; each < 10; each++) call('a', 'unavailable');
  };
  openUp();
  later(14_999);
  t.truthy(breakers.of('a').refusal());
  later(1);
  const probe = breakers.of('a').enter();
  t.regex(call('a', 'fine')?.message ?? '', /held back/, 'only one at a time');
  t.true(probe.mayGoOn(), 'but that one may try again');
  probe.succeed();
  probe.end();
  t.is(await open('a'), 0);

  openUp();
  later(15_000);
  t.is(call('a', 'unavailable'), undefined, 'the probe');
  t.regex(call('a', 'unavailable')?.message ?? '', /held back/);
});

test('a probe that got any answer closes the breaker; one that was called off leaves it to the next', async (t) => {
  const { breakers, later, open, call } = setUpBreakers();
  for (let each = 0; each < 10; each++) call('a', 'unavailable');
  later(15_000);
  call('a', undefined);
  t.is(await open('a'), 1);
  t.is(breakers.of('a').refusal(), undefined, 'the next one is a probe again');
  call('a', 'unpaid');
  t.is(await open('a'), 0);
});

test('endpoints that come and go do not pile up', async (t) => {
  const { breakers, open } = setUpBreakers();
  for (let each = 0; each < 1_000; each++) breakers.of(`endpoint-${each}`);
  t.is(await open('endpoint-0'), undefined);
  t.is(await open('endpoint-999'), 0);
});
