import test from 'ava';
import { eventually } from '#test/helpers/eventually.ts';
import { shortChat, startHttpProxy } from '#test/helpers/http-proxy.ts';
import type { TestLimits } from '#test/helpers/limits.ts';
import { startLimits } from '#test/helpers/limits.ts';
import { readSample } from '#test/helpers/proxy.ts';

const client = (key: string) => ({ key, isClient: true });

/** How many places it gets before it is told no, and in what words. */
async function takeAll(limits: TestLimits, key: string) {
  for (let count = 0; ; count++) {
    const refusal = await limits.reserve(client(key)).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (refusal) return { count, refusal };
  }
}

test('a client key has half of the places that are not kept for agents, each other finds some, and agents find theirs', async (t) => {
  await using limits = await startLimits([], { activeMax: 64, agentsShare: 0.25 });
  const counts: number[] = [];
  for (const key of ['a', 'b', 'c', 'd']) {
    const { count, refusal } = await takeAll(limits, key);
    counts.push(count);
    t.like(refusal, { code: 'limited', retryAfterMs: 1_000 });
    t.regex(String(refusal), /this key makes \d+ model calls now, and \d+ places are left for all client keys/);
  }
  t.deepEqual(counts, [24, 12, 6, 3]);
  t.is((await takeAll(limits, 'a')).count, 0);
  for (let count = 0; count < 3; count++) await limits.reserve(client(`late-${count}`));
  await t.throwsAsync(limits.reserve(client('too-late')), {
    code: 'unavailable',
    message: /all 48 places.*LLM_AGENTS_SHARE/,
  });
  for (let count = 0; count < 16; count++) await limits.reserve();
  await t.throwsAsync(limits.reserve(), { code: 'unavailable', message: /LLM_CONCURRENCY is reached: 64/ });
});

test('agents use every place while nobody else does, and a key that gives a place back may take it again', async (t) => {
  await using limits = await startLimits([], { activeMax: 8, agentsShare: 0.25 });
  const grants = await Promise.all(Array.from({ length: 8 }, () => limits.reserve()));
  await t.throwsAsync(limits.reserve(client('a')), { code: 'unavailable' });
  for (const grant of grants) grant.settle(undefined);
  const own = [await limits.reserve(client('a')), await limits.reserve(client('a')), await limits.reserve(client('a'))];
  await t.throwsAsync(limits.reserve(client('a')), { code: 'limited' });
  own[0]?.settle(undefined);
  own[0]?.settle(undefined);
  await limits.reserve(client('a'));
  await t.throwsAsync(limits.reserve(client('a')), { code: 'limited' }, 'a place that is given back twice is one');
});

test('slow streams of one key, as many as there are places and twice, keep out neither another key nor an agent', async (t) => {
  await using proxy = await startHttpProxy('openai', {
    script: ({ conversation }) => (conversation.includes('slow') ? { fault: 'stall' } : { text: 'Yes.' }),
    environment: { LLM_CONCURRENCY: '16' },
  });
  const leave = new AbortController();
  const slow = { ...shortChat, stream: true, messages: [{ role: 'user', content: 'slow' }] };
  const answers = await Promise.all(
    Array.from({ length: 32 }, () => proxy.post('/v1/chat/completions', slow, {}, leave.signal)),
  );
  const refused = answers.filter(({ status }) => status !== 200);
  t.is(answers.length - refused.length, 6, 'half of the twelve that are not kept for agents');
  for (const each of refused) {
    t.is(each.status, 429);
    t.is(each.headers.get('retry-after'), '1');
    t.regex(await each.text(), /places are left for all client keys/);
  }
  const { secret } = await proxy.mint();
  const other = await proxy.post('/v1/chat/completions', shortChat, { authorization: `Bearer ${secret}` });
  t.is(other.status, 200);
  t.is((await proxy.ask()).answer.text, 'Yes.');
  t.is(await readSample(proxy, 'llm_sent_away_total', 'by="key-places"'), 26);
  t.is(await proxy.metric('llm_requests_active_clients{'), 6);
  leave.abort();
  await eventually(async () => (await proxy.metric('llm_requests_active_clients{')) === 0);
  t.is((await proxy.post('/v1/chat/completions', shortChat)).status, 200, 'what was left is free');
});
