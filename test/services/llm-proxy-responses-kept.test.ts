import test from 'ava';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';

const path = '/v1/responses';
const model = 'claude-sonnet-4-6';

/** A Claude whose every answer has an id of its own: a word, and a call where there is a tool and no result yet. */
const start = (environment: Record<string, string> = {}) => {
  let count = 0;
  return startHttpProxy('anthropic', {
    environment,
    script: ({ tools, messages }) => {
      count += 1;
      const calls =
        tools.go && messages.at(-1)?.role !== 'tool' ? [{ tool: 'go', args: {}, callId: `call_${count}` }] : [];
      return { id: `msg_n${count}`, text: `Answer ${count}.`, toolCalls: calls };
    },
  });
};
type Proxy = Awaited<ReturnType<typeof start>>;

const saidTo = ({ fake }: Proxy) =>
  fake.requests.at(-1)?.messages.map(({ role, text, tools }) => [role, text, ...tools]);
const user = (content: string) => ({ role: 'user', content });
const refer = (id: string) => ({ type: 'item_reference', id });
const go = { type: 'function', name: 'go', parameters: { type: 'object', properties: {} } };

for (const stream of [false, true])
  test(`a client refers to what it was answered, ${stream ? 'streamed' : 'whole'}, by ids and by the response`, async (t) => {
    await using proxy = await start();
    const ask = async (body: object) => {
      const answer = await proxy.post(path, { model, stream, ...body });
      t.is(answer.status, 200, await answer.clone().text());
      await answer.text();
    };
    await ask({ input: 'Hi', tools: [go] });
    const first = [user('Hi'), refer('msg_n1_0'), refer('fc_n1_1')];
    await ask({
      input: [...first, { type: 'function_call_output', call_id: 'call_1', output: 'gone' }],
      tools: [go],
    });
    const history = [
      ['user', 'Hi'],
      ['assistant', 'Answer 1.', 'go'],
      ['tool', 'gone'],
    ];
    t.deepEqual(saidTo(proxy), history);
    await ask({ input: 'And?', previous_response_id: 'resp_n2' });
    t.deepEqual(saidTo(proxy), [...history, ['assistant', 'Answer 2.'], ['user', 'And?']]);
    await ask({ input: [user('More?')], previous_response_id: 'resp_n3' });
    t.deepEqual(saidTo(proxy)?.slice(4), [
      ['user', 'And?'],
      ['assistant', 'Answer 3.'],
      ['user', 'More?'],
    ]);
    await ask({ input: [user('Hi'), { id: 'msg_n4_0' }, user('x')] });
    t.deepEqual(saidTo(proxy)?.[1], ['assistant', 'Answer 4.']);
  });

test('nobody refers to what another key was answered, to what was not to be kept, or to what there is not', async (t) => {
  await using proxy = await start();
  const other = await proxy.mint({ name: 'other' });
  const ask = async (body: object, secret = proxy.key.secret) =>
    proxy.post(path, { model, ...body }, { authorization: `Bearer ${secret}` });
  t.is((await ask({ input: 'Mine' })).status, 200);
  t.is((await ask({ input: 'Not kept', store: false })).status, 200);
  const asked = proxy.fake.requests.length;
  const refused: [object, string?][] = [
    [{ input: [user('a'), refer('msg_n1_0'), user('b')] }, other.secret],
    [{ input: 'a', previous_response_id: 'resp_n1' }, other.secret],
    [{ input: [user('a'), refer('msg_n2_0'), user('b')] }],
    [{ input: 'a', previous_response_id: 'resp_n2' }],
    [{ input: [user('a'), refer('msg_n1_7'), user('b')] }],
    [{ input: [user('a'), refer('fc_n1_0'), user('b')] }],
    [{ input: [user('a'), refer('rs_n1_0'), user('b')] }],
    [{ input: 'a', previous_response_id: 'resp_n9' }],
    [{ input: 'a', previous_response_id: { id: 'resp_n1' } }],
  ];
  for (const [body, secret] of refused) {
    const answer = await ask(body, secret);
    t.is(answer.status, 400);
    t.regex(await answer.text(), /(input\.1|previous_response_id).*store: false/);
  }
  t.is(proxy.fake.requests.length, asked);
  t.is((await ask({ input: [user('a'), refer('msg_n1_0'), user('b')] })).status, 200);
});

test('what is kept of a key is bounded: the oldest goes first, and what is too long is not kept', async (t) => {
  await using proxy = await start();
  const big = 'x'.repeat(900_000);
  for (let count = 1; count <= 10; count++) {
    const answer = await proxy.post(path, { model, input: `${count} ${big}` });
    t.is(answer.status, 200);
    await answer.text();
  }
  const ask = async (previous: string) =>
    (await proxy.post(path, { model, input: 'And?', previous_response_id: previous })).status;
  t.is(await ask('resp_n10'), 200);
  t.is(await ask('resp_n1'), 400);
  const longer = await proxy.post(path, { model, input: 'x'.repeat(1_100_000) });
  t.is(longer.status, 200);
  t.is(await ask('resp_n12'), 400);
  const again = { model, input: [user('x'), refer('msg_n12_0'), user('And?')] };
  t.is((await proxy.post(path, again)).status, 200);
});

test('without Redis a client is answered, and told to send the content itself', async (t) => {
  await using proxy = await start({ REDIS_URL: 'redis://127.0.0.1:1' });
  const first = await proxy.post(path, { model, input: 'Hi' });
  t.is(first.status, 200);
  const second = await proxy.post(path, { model, input: [user('Hi'), refer('msg_n1_0'), user('b')] });
  t.is(second.status, 400);
  t.regex(await second.text(), /store: false/);
});
