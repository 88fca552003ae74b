import test from 'ava';
import { heldFor } from '../../services/llm-proxy/limits/holds.ts';
import { periodOf, splitOf } from '../../services/llm-proxy/limits/window.ts';

const now = Date.parse('2026-11-26T12:00:00Z');
const held = (status: number, given: Record<string, string>) => heldFor(status, (name) => given[name], now);

test('a provider says in many ways for how long it wants to be left alone', (t) => {
  t.is(held(429, { 'retry-after': '7' }), 7_000);
  t.is(held(529, { 'retry-after': 'Thu, 26 Nov 2026 12:00:30 GMT' }), 30_000);
  t.is(held(200, { 'retry-after': '7' }), 0);
  t.is(held(500, { 'retry-after': '7' }), 0);
  t.is(held(429, {}), 0);
  t.is(held(200, { 'x-ratelimit-remaining-requests': '0', 'x-ratelimit-reset-requests': '6m0s' }), 360_000);
  t.is(held(200, { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '1h1m1.5s' }), 3_661_500);
  t.is(held(200, { 'x-ratelimit-remaining-tokens': '0', 'x-ratelimit-reset-tokens': '20ms' }), 20);
  t.is(held(200, { 'x-ratelimit-remaining-tokens': '5', 'x-ratelimit-reset-tokens': '1h' }), 0);
  const anthropic = (kind: string, left: string) => ({
    [`anthropic-ratelimit-${kind}-remaining`]: left,
    [`anthropic-ratelimit-${kind}-reset`]: '2026-11-26T12:00:05Z',
  });
  t.is(held(200, anthropic('input-tokens', '0')), 5_000);
  t.is(held(200, anthropic('requests', '3')), 0);
  t.is(held(429, { ...anthropic('requests', '0'), 'retry-after': '9' }), 9_000);
  for (const hostile of ['-5', 'NaN', '1e99', 'Infinity', '', 'soon', '9'.repeat(100), '1s'.repeat(50)])
    t.is(held(429, { 'retry-after': hostile }), 0, hostile);
});

test('periods are calendar days and months in UTC', (t) => {
  const shown = (per: 'day' | 'month', at: string) => {
    const { fromMs, toMs } = periodOf(per, Date.parse(at));
    return [new Date(fromMs).toISOString().slice(0, 10), new Date(toMs).toISOString().slice(0, 10)];
  };
  t.deepEqual(shown('day', '2026-12-31T23:59:59.999Z'), ['2026-12-31', '2027-01-01']);
  t.deepEqual(shown('month', '2026-12-31T23:59:59.999Z'), ['2026-12-01', '2027-01-01']);
  t.deepEqual(shown('month', '2028-02-29T00:00:00Z'), ['2028-02-01', '2028-03-01']);
});

test('a window is held a little longer than it is, in not too many parts', (t) => {
  for (const windowMs of [100, 1_000, 60_000, 86_400_000]) {
    const { bucketMs, heldMs } = splitOf(windowMs);
    t.true(heldMs > windowMs && heldMs <= windowMs * 1.25);
    t.true(heldMs / bucketMs < 80, `${windowMs}`);
  }
});
