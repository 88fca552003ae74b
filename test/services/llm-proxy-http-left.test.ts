import test from 'ava';
import { Redis } from 'ioredis';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeReply } from '#test/helpers/fake-provider.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { modelEntry, modelsFileIn } from '#test/helpers/models.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const model = 'one';
/** Of what the stalled answer says, 'An answer that will' and a blank come before it stops: twenty bytes. */
const heardTokens = 7;
const paths = { '/v1/messages': shortMessages, '/v1/chat/completions': shortChat } as const;

/** A proxy whose model costs a thousandth of a dollar for each token of the prompt, and a hundredth for each of the answer. */
async function setUp(wire: 'anthropic' | 'openai', reply: FakeReply) {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const entry = modelEntry(model, wire)
    .replace('input_usd_per_mtok = 0', 'input_usd_per_mtok = 1000')
    .replace('output_usd_per_mtok = 0', 'output_usd_per_mtok = 10000');
  const proxy = stack.use(
    await startHttpProxy(wire, {
      script: () => reply,
      environment: { MODELS_FILE: await modelsFileIn(folder, entry) },
      terms: { budget: { usd: 100, per: 'day' } },
    }),
  );
  const redis = new Redis(proxy.redis.url);
  stack.defer(() => redis.disconnect());
  const spentUsd = async () => {
    const [key = ''] = await redis.keys('*usd*');
    return Number(await redis.hget(key, 'sum')) / 1e6;
  };
  /** Goes once it has heard so much. */
  const leave = async (path: keyof typeof paths, text: string) => {
    const gone = new AbortController();
    const answer = await proxy.post(path, { ...paths[path], model, stream: true }, {}, gone.signal);
    let heard = '';
    const decoder = new TextDecoder();
    for await (const chunk of answer.body ?? []) {
      heard += decoder.decode(chunk, { stream: true });
      if (heard.includes(text)) break;
    }
    gone.abort();
  };
  const owned = stack.move();
  return { proxy, spentUsd, leave, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

for (const path of ['/v1/messages', '/v1/chat/completions'] as const) {
  test(`who leaves a stream of ${path} that told of its prompt has spent that, and what had come of the answer`, async (t) => {
    await using system = await setUp('anthropic', { fault: 'stall' });
    const { proxy, leave, spentUsd } = system;
    await leave(path, 'An answer that will');
    const [event] = await proxy.calls(1);
    t.like(event?.data, { outcome: 'cancelled', estimated: true });
    t.like(event?.data.usage, { inputTokens: 10, outputTokens: heardTokens });
    t.is(event?.data.costUsd, 0.08);
    t.is(await eventually(async () => (await spentUsd()) < 0.1 && spentUsd()), 0.08, 'the budget has the same');
  });
}

test('a stream that breaks is counted as far as it came, one that is whole as the provider says', async (t) => {
  const text = 'That is much more than the five tokens that the provider counts.';
  await using system = await setUp('anthropic', { text });
  const { proxy } = system;
  t.is((await proxy.post('/v1/messages', { ...shortMessages, model, stream: true })).status, 200);
  const [whole] = await proxy.calls(1);
  t.is(whole?.data.estimated, undefined);
  t.is(whole?.data.usage.outputTokens, 5, 'what the provider told in the end stands');
  proxy.fake.play(() => ({ fault: 'cut' }));
  const torn = await proxy.post('/v1/messages', { ...shortMessages, model, stream: true });
  await t.throwsAsync(torn.text());
  const [, cut] = await proxy.calls(2);
  t.like(cut?.data, { outcome: 'upstream', estimated: true, costUsd: 0.08 });
});

test('where nothing was told of the prompt the cost stays unknown, and the budget keeps the most it may have been', async (t) => {
  await using system = await setUp('openai', { fault: 'stall' });
  const { proxy, leave, spentUsd } = system;
  await leave('/v1/chat/completions', 'An answer that will');
  const [event] = await proxy.calls(1);
  t.like(event?.data, { outcome: 'cancelled', costUsd: null });
  t.is(event?.data.estimated, undefined);
  t.true((await spentUsd()) > 0.08);
});
