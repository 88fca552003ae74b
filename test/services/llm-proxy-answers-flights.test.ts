import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { startRedis } from '#test/helpers/servers.ts';
import { both, controlled, made, never, openAnswers } from '../fixtures/answers/open.ts';

const key = 'a'.repeat(64);
const lock = `{toka:cache}:${key}:lock`;

test('a hundred equal questions at once make one call, and different ones each their own', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  let calls = 0;
  const call = controlled();
  const make = (signal: AbortSignal) => {
    calls += 1;
    return call.make(signal);
  };
  const asking = Array.from({ length: 100 }, () => one.get(key, both, make, never));
  const other = await one.get('b'.repeat(64), both, async () => made('other'), never);
  t.is(other.cache, 'miss');
  await eventually(() => calls === 1);
  call.resolve(made('x'));
  const found = await Promise.all(asking);
  t.is(calls, 1);
  t.deepEqual([...new Set(found.map(({ body }) => body.toString()))], ['x']);
  t.deepEqual(
    found.map(({ cache }) => cache),
    ['miss', ...Array(99).fill('coalesced')],
  );
  t.is(await one.redis.exists(lock), 0);
});

test('when the one who makes the call leaves, the others still get the answer', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  const call = controlled();
  const leaving = new AbortController();
  const left = one.get(key, both, call.make, leaving.signal);
  await eventually(() => call.signals.length === 1);
  const staying = one.get(key, both, async () => made('not this one'), never);
  leaving.abort(new Error('gone'));
  await t.throwsAsync(left, { message: 'gone' });
  t.false(call.signals[0]?.aborted);
  call.resolve(made('x'));
  t.like(await staying, { cache: 'coalesced', type: 'text/plain' });
  t.is((await one.get(key, both, call.make, never)).cache, 'hit');
});

test('when all have left, the call is aborted, and who asks next does not wait for its end', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const signals: AbortSignal[] = [];
  const stubborn = Promise.withResolvers<ReturnType<typeof made>>();
  const leaving = [new AbortController(), new AbortController()];
  const left = leaving.map(({ signal }) =>
    one.get(
      key,
      both,
      (each) => {
        signals.push(each);
        return stubborn.promise;
      },
      signal,
    ),
  );
  await eventually(() => signals.length === 1);
  leaving[0]?.abort(new Error('first'));
  await t.throwsAsync(left[0] ?? Promise.resolve(), { message: 'first' });
  t.false(signals[0]?.aborted);
  leaving[1]?.abort(new Error('last'));
  await t.throwsAsync(left[1] ?? Promise.resolve(), { message: 'last' });
  t.is(signals[0]?.reason?.message, 'last');
  t.is(signals.length, 1);
  const began = performance.now();
  t.like(await two.get(key, both, async () => made('new'), AbortSignal.timeout(5_000)), { cache: 'miss' });
  t.true(performance.now() - began < 1_000, 'well before its lock would have ended');
  stubborn.resolve(made('late', false));
  t.is((await one.get(key, both, async () => made('newer'), never)).body.toString(), 'new');
});

test('a caller that had left before it asked makes nothing', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  const call = controlled();
  const reason = new Failure('timeout', 'too late');
  for (const how of [both, { read: false, write: true }])
    t.is(await t.throwsAsync(one.get(key, how, call.make, AbortSignal.abort(reason))), reason);
  t.is(call.signals.length, 0);
  t.is(await one.redis.dbsize(), 0);
});

test('a failure is that of all who wait here, and the next one asks anew', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  const call = controlled();
  const asking = Array.from({ length: 5 }, () => one.get(key, both, call.make, never));
  await eventually(() => call.signals.length === 1);
  const failure = new Failure('upstream', 'the provider failed');
  call.reject(failure);
  for (const each of asking) t.is(await t.throwsAsync(each), failure);
  t.is(call.signals.length, 1);
  await t.throwsAsync(
    one.get(
      key,
      both,
      () => {
        throw failure;
      },
      never,
    ),
    { is: failure },
  );
  t.is((await one.get(key, both, async () => made('x'), never)).cache, 'miss');
});

test('another replica waits for the call, and takes it over where it fails or may not be kept', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  for (const end of ['kept', 'not kept', 'failed', 'left'] as const) {
    const each = `${key}${end}`;
    const [call, second] = [controlled(), controlled()];
    const leaving = new AbortController();
    const first = one.get(each, both, call.make, leaving.signal);
    await eventually(() => call.signals.length === 1);
    const waiting = [two.get(each, both, second.make, never), two.get(each, both, second.make, never)];
    // By now it has asked, and must not have begun.
    await one.redis.ping();
    await two.redis.ping();
    t.is(second.signals.length, 0);
    if (end === 'kept') call.resolve(made('x'));
    if (end === 'not kept') call.resolve(made('x', false));
    if (end === 'failed') call.reject(new Error('no'));
    if (end === 'left') leaving.abort(new Error('no'));
    if (end === 'failed' || end === 'left') await t.throwsAsync(first, { message: 'no' });
    else t.is((await first).cache, 'miss');
    if (end !== 'kept') {
      await eventually(() => second.signals.length === 1, 2_000);
      second.resolve(made('y'));
    }
    const found = (await Promise.all(waiting)).map(({ cache, body }) => `${cache} ${body}`);
    t.deepEqual(found, end === 'kept' ? ['coalesced x', 'coalesced x'] : ['miss y', 'coalesced y'], end);
    t.is(second.signals.length, end === 'kept' ? 0 : 1);
  }
});

test('when the caller leaves that would have made the call, the next in line makes it', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const call = controlled();
  const first = one.get(key, both, call.make, never);
  await eventually(() => call.signals.length === 1);
  const leaving = new AbortController();
  const gone = controlled();
  const left = two.get(key, both, gone.make, leaving.signal);
  const next = two.get(key, both, async () => made('by the next'), never);
  leaving.abort(new Error('gone'));
  await t.throwsAsync(left, { message: 'gone' });
  call.resolve(made('not kept', false));
  await first;
  const found = await next;
  t.deepEqual([found.cache, found.body.toString(), gone.signals.length], ['miss', 'by the next', 0]);
});

test('a call that takes longer than its lock keeps it', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const [call, second] = [controlled(), controlled()];
  const first = one.get(key, both, call.make, never);
  await eventually(() => call.signals.length === 1);
  const began = performance.now();
  const waiting = two.get(key, both, second.make, never);
  let leastMs = 3_000;
  await eventually(async () => {
    leastMs = Math.min(leastMs, await one.redis.pttl(lock));
    return performance.now() - began > 5_000;
  });
  t.true(leastMs > 500, `it is renewed in good time, at the latest ${leastMs} ms before its end`);
  t.is(second.signals.length, 0);
  call.resolve(made('x'));
  t.is((await first).cache, 'miss');
  t.is((await waiting).cache, 'coalesced');
  t.is(second.signals.length, 0);
});

test('disposing ends what is under way', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const call = controlled();
  const first = two.get(key, both, call.make, never);
  await eventually(() => call.signals.length === 1);
  const waiting = one.get(key, both, call.make, never);
  one[Symbol.dispose]();
  await t.throwsAsync(waiting, { code: 'unavailable', message: /stopping/ });
  two[Symbol.dispose]();
  await t.throwsAsync(first, { code: 'unavailable', message: /stopping/ });
});
