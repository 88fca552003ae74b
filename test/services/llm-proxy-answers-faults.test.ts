import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { startRedis } from '#test/helpers/servers.ts';
import { both, controlled, made, never, openAnswers } from '../fixtures/answers/open.ts';

const key = 'a'.repeat(64);
const prefix = '{toka:cache}:';
const entry = prefix + key;

const now = String(Date.now());
const hostile: Record<string, string | Buffer> = {
  'no header': 'hello',
  nothing: '',
  'a header alone': `toka1 ${now} 5 text/plain`,
  'another version': `toka2 ${now} 1 text/plain\nx`,
  'too short a body': `toka1 ${now} 5 text/plain\nabc`,
  'too long a body': `toka1 ${now} 1 text/plain\nabc`,
  'no time': 'toka1 not-a-number! 3 text/plain\nabc',
  'a time of the far future': `toka1 99${now} 3 text/plain\nabc`,
  'a type with a line break': `toka1 ${now} 3 text/plain\r\nset-cookie: a=b\nabc`,
  'a type that is no ASCII': `toka1 ${now} 3 text/plaïn\nabc`,
  'a type without an end': `toka1 ${now} 3 ${'x'.repeat(10_000)}\nabc`,
  'what an earlier version wrote': JSON.stringify({ answer: { text: 'x' } }),
  'random bytes': Buffer.from(Array.from({ length: 1_000 }, (_, at) => (at * 7_919) % 256)),
  'far too many bytes': Buffer.alloc(5_000_000, 'x'),
};

test('an entry in Redis that is none of ours is a miss with a warning, and is replaced', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  for (const [name, value] of Object.entries(hostile)) {
    await one.redis.set(prefix + name, value);
    const found = await one.get(name, both, async () => made('x'), never);
    t.deepEqual([found.cache, found.body.toString()], ['miss', 'x'], name);
    // To Redis, one of no bytes is as one that is not there.
    const warnings = one.log.filter((line) => line.includes('no answer') && line.includes(`"${name}"`));
    t.is(warnings.length, name === 'nothing' ? 0 : 1, name);
    t.is((await two.get(name, both, async () => made('y'), never)).body.toString(), 'x', name);
  }
  t.false(one.log.join('').includes('cookie'), 'the log does not repeat what it was');
});

test('an entry that is no string is a miss, and locks that are none hold nobody up', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  await one.redis.rpush(entry, 'a', 'b');
  t.is((await one.get(key, both, async () => made('x'), never)).cache, 'miss');
  t.is((await two.get(key, both, async () => made('y'), never)).cache, 'hit');
  const locks: [string, () => Promise<unknown>][] = [
    ['without an end', () => one.redis.set(`${prefix}b:lock`, 'someone')],
    ['for a year', () => one.redis.set(`${prefix}b:lock`, 'someone', 'EX', 31_536_000)],
    ['a list', () => one.redis.rpush(`${prefix}b:lock`, 'someone')],
  ];
  for (const [name, set] of locks) {
    await set();
    const began = performance.now();
    const signal = AbortSignal.timeout(5_000);
    t.is((await one.get('b', both, async () => made('x', false), signal)).cache, 'miss', name);
    t.true(performance.now() - began < 1_000, name);
    await eventually(async () => (await one.redis.exists(`${prefix}b:lock`)) === 0, 2_000);
  }
});

test('an index that is none passes the cache by, says so once, and answers still', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await one.redis.set(`${prefix}used`, 'x');
  for (let count = 0; count < 3; count++)
    t.is((await one.get(`k${count}`, both, async () => made('x'), never)).cache, 'bypass');
  t.is(one.log.filter((line) => line.includes('passed by')).length, 1);
  await one.redis.del(`${prefix}used`);
  await eventually(async () => (await one.get(key, both, async () => made('x', false), never)).cache === 'miss', 5_000);
});

test('when Redis is killed in the middle of a call, its answer comes all the same, to all who wait', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const [call, second] = [controlled(), controlled()];
  const here = [one.get(key, both, call.make, never), one.get(key, both, call.make, never)];
  await eventually(() => call.signals.length === 1);
  const there = two.get(key, both, second.make, never);
  await redis.kill();
  // It cannot know any more whether the other goes on.
  await eventually(() => second.signals.length === 1, 5_000);
  second.resolve(made('y'));
  t.deepEqual([(await there).cache, (await there).body.toString()], ['bypass', 'y']);
  call.resolve(made('x'));
  t.deepEqual(
    (await Promise.all(here)).map(({ cache, body }) => `${cache} ${body}`),
    ['miss x', 'coalesced x'],
  );
  t.is(one.peek(key, both)?.body.toString(), 'x');
});

test('while Redis is away, equal questions still share one call here; when it is back, answers are kept again', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url, { frontTtlMs: 100 });
  await using two = await openAnswers(redis.url);
  await redis.kill();
  const call = controlled();
  const asking = Array.from({ length: 20 }, () => one.get(key, both, call.make, never));
  await eventually(() => call.signals.length === 1, 5_000);
  call.resolve(made('x'));
  t.deepEqual(
    (await Promise.all(asking)).map(({ cache }) => cache),
    ['bypass', ...Array(19).fill('coalesced')],
  );
  t.is(call.signals.length, 1);
  t.is((await one.get(key, both, call.make, never)).cache, 'hit', 'it is at hand for its short life');
  t.is(one.log.filter((line) => line.includes('passed by')).length, 1);
  await redis.start();
  let count = 0;
  await eventually(async () => (await one.get(`k${++count}`, both, async () => made('x'), never)).cache === 'miss');
  await eventually(async () => (await two.get(`k${count}`, both, async () => made('y', false), never)).cache === 'hit');
});

test('a Redis that hangs holds up a second of calls, and then none', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using other = await openAnswers(redis.url);
  const ask = async (name: string) => {
    const began = performance.now();
    const { cache } = await one.get(name, both, async () => made('x'), never);
    return { cache, ms: performance.now() - began };
  };
  t.is((await ask('a')).cache, 'miss');
  await other.redis.call('CLIENT', 'PAUSE', '4000', 'ALL');
  const first = await ask('b');
  t.is(first.cache, 'bypass');
  t.true(first.ms < 1_900, `${first.ms} ms`);
  const second = await ask('c');
  t.is(second.cache, 'bypass');
  t.true(second.ms < 100, `${second.ms} ms`);
  let count = 0;
  await eventually(async () => (await ask(`k${++count}`)).cache === 'miss');
});
