import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { startRedis } from '#test/helpers/servers.ts';
import type { How } from '../../services/llm-proxy/cache/wants.ts';
import { both, controlled, made, never, openAnswers } from '../fixtures/answers/open.ts';

const key = 'a'.repeat(64);
const prefix = '{toka:cache}:';
const text = ({ body }: { body: Buffer }) => body.toString();

test('an answer is given again as it was made, byte for byte, by the one that made it and by any other', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  const body = Buffer.from(Array.from({ length: 3_000 }, (_, at) => at % 256));
  const type = 'application/json; charset=utf-8';
  t.is(one.peek(key, both), undefined);
  const first = await one.get(key, both, async () => ({ body, type, keep: true }), never);
  t.like(first, { cache: 'miss', ageS: 0, type });
  const fail = async () => t.fail('it was to be answered from the cache') as never;
  for (const replica of [one, two]) {
    const found = await replica.get(key, both, fail, never);
    t.like(found, { cache: 'hit', type, storedMs: first.storedMs });
    t.true(found.body.equals(body));
    const near = replica.peek(key, both);
    t.true(near?.body.equals(body), 'it is at hand now');
    t.true((near?.body.buffer.byteLength ?? 0) <= body.byteLength + 400, 'and holds hardly more memory than its own');
  }
  t.like(await two.get('b'.repeat(64), both, async () => made('other'), never), { cache: 'miss' });
});

test('who wants no stored answer gets a new one, and what may not be written is not', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url, { frontTtlMs: 50 });
  let count = 0;
  const ask = async (replica: typeof one, how: How) => {
    const { cache, body } = await replica.get(key, how, async () => made(`${++count}`), never);
    return `${cache} ${body}`;
  };
  t.is(await ask(one, { read: false, write: false }), 'bypass 1');
  t.is(await ask(one, { read: true, write: false }), 'miss 2');
  t.is(await ask(one, both), 'miss 3');
  t.is(await ask(two, both), 'hit 3');
  t.is(await ask(one, { read: false, write: false }), 'bypass 4');
  t.is(await ask(one, both), 'hit 3');
  t.is(await ask(one, { read: false, write: true }), 'bypass 5');
  t.is(await ask(one, both), 'hit 5');
  await eventually(async () => (await ask(two, both)) === 'hit 5', 2_000);
  t.is(one.peek(key, { read: false, write: true }), undefined);
});

test('max-age passes older entries by, and the new answer takes their place', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  await using two = await openAnswers(redis.url);
  await one.get(key, both, async () => made('old'), never);
  t.is(one.peek(key, { ...both, maxAgeS: 60 })?.cache, 'hit');
  await eventually(() => !one.peek(key, { ...both, maxAgeS: 1 }));
  const asking = controlled();
  t.is(one.peek(key, { ...both, maxAgeS: 60 })?.cache, 'hit');
  // One is content with what lies there, and begins; the other, in the same flight, is not.
  const [content, demanding] = await Promise.all([
    two.get(key, both, asking.make, never),
    two.get(key, { ...both, maxAgeS: 1 }, async () => made('new'), never),
  ]);
  t.deepEqual([content.cache, text(content), content.ageS >= 1], ['hit', 'old', true]);
  t.deepEqual([demanding.cache, text(demanding), demanding.ageS], ['miss', 'new', 0]);
  t.is(asking.signals.length, 0);
  t.is(text(await two.get(key, both, asking.make, never)), 'new');
});

test('only what its maker says may be kept is kept, and nothing that is too large', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url);
  for (const odd of [
    made('cut', false),
    made(Buffer.alloc(256 * 1_024 + 1)),
    { ...made('x'), type: 'text/plain\r\nset-cookie: a=b' },
    { ...made('x'), type: 'x'.repeat(300) },
    { ...made('x'), type: '' },
  ]) {
    const states = [];
    for (let count = 0; count < 2; count++) states.push((await one.get(key, both, async () => odd, never)).cache);
    t.deepEqual(states, ['miss', 'miss'], odd.type);
  }
  await eventually(async () => (await one.redis.dbsize()) === 0, 2_000);
  for (const text of ['', 'x'.repeat(256 * 1_024)]) {
    const edge = key.slice(1) + String(text.length);
    await one.get(edge, both, async () => made(text), never);
    t.is((await one.get(edge, both, async () => made('new'), never)).body.length, text.length);
  }
});

test('the least recently used answers go first, over all replicas, exactly', async (t) => {
  await using redis = await startRedis();
  const options = { size: 5, frontBytesMax: 1 };
  await using one = await openAnswers(redis.url, options);
  await using two = await openAnswers(redis.url, options);
  const used: string[] = [];
  let seed = 7;
  for (let count = 0; count < 400; count++) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    const each = `k${(seed >> 8) % 9}`;
    const { cache } = await (seed % 2 ? one : two).get(each, both, async () => made(each), never);
    t.is(cache, used.includes(each) ? 'hit' : 'miss');
    if (used.includes(each)) used.splice(used.indexOf(each), 1);
    used.push(each);
    if (used.length > 5) used.shift();
  }
  const kept = (await one.redis.keys(`${prefix}k*`)).map((name) => name.slice(prefix.length));
  t.deepEqual(kept.sort(), [...used].sort());
  t.deepEqual(await one.redis.zrange(`${prefix}used`, '0', '-1'), used);
});

test('what the front answers counts as used in Redis too', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url, { size: 2 });
  await using two = await openAnswers(redis.url, { size: 2 });
  const ask = async (replica: typeof one, each: string) =>
    (await replica.get(each, both, async () => made(each), never)).cache;
  await ask(one, 'hot');
  await ask(two, 'cold');
  t.is(one.peek('hot', both)?.cache, 'hit');
  await eventually(async () => (await one.redis.zrange(`${prefix}used`, '0', '-1')).at(-1) === 'hot', 3_000);
  await ask(two, 'new');
  t.deepEqual(await one.redis.zrange(`${prefix}used`, '0', '-1'), ['hot', 'new']);
});

test('an answer lives for its time in Redis and no longer, also at hand, and leaves no trace', async (t) => {
  await using redis = await startRedis();
  const options = { ttlS: 1, frontTtlMs: 60_000 };
  await using one = await openAnswers(redis.url, options);
  await using two = await openAnswers(redis.url, options);
  const earliest = Date.now() + 1_000;
  await one.get(key, both, async () => made('x'), never);
  const latest = Date.now() + 1_000;
  await eventually(() => Date.now() > earliest - 500);
  t.is((await two.get(key, both, async () => made('never'), never)).cache, 'hit');
  const ends = [one, two].map((replica) =>
    eventually(() => {
      const began = Date.now();
      if (!replica.peek(key, both)) return Date.now();
      t.true(began <= latest + 20, 'it is not given after its end');
      return false;
    }),
  );
  for (const end of await Promise.all(ends)) t.true(end >= earliest - 20, 'nor is it gone before');
  await eventually(async () => (await one.redis.exists(prefix + key)) === 0, 2_000);
  t.is((await two.get('other', both, async () => made('x'), never)).cache, 'miss');
  t.deepEqual(await one.redis.zrange(`${prefix}used`, '0', '-1'), ['other']);
  t.deepEqual(await one.redis.zrange(`${prefix}due`, '0', '-1'), ['other']);
});

test('what is at hand has a bound in bytes, and a metric says how much it is', async (t) => {
  await using redis = await startRedis();
  await using one = await openAnswers(redis.url, { frontBytesMax: 100_000 });
  for (let count = 0; count < 30; count++)
    await one.get(`k${count}`, both, async () => made(Buffer.alloc(20_000)), never);
  const bytes = async () => (await one.metrics.llmCacheFrontBytes.get()).values[0]?.value ?? 0;
  t.true((await bytes()) > 80_000 && (await bytes()) <= 100_000, `${await bytes()}`);
  const atHand = Array.from({ length: 30 }, (_, count) => one.peek(`k${count}`, both) !== undefined);
  t.deepEqual(
    atHand.flatMap((is, count) => (is ? [count] : [])),
    [26, 27, 28, 29],
  );
  one[Symbol.dispose]();
  t.is(await bytes(), 0);
});
