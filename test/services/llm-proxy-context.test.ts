import test from 'ava';
import fc from 'fast-check';
import type { ChatInput, ChatMessage } from '#shared/contracts/llm.ts';
import { ChatRequest, chat } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { answer, openReplica, resolved, tools, turn, user } from '#test/helpers/contexts.ts';
import { readMetric, startProxySystem } from '#test/helpers/proxy.ts';
import { startRedis } from '#test/helpers/servers.ts';
import { createConversation } from '../../services/agent-runner/conversation.ts';

test('a call carries only what is new, whichever instance it reaches; a note that is made anew is the same', async (t) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const [a, b] = [await openReplica(stack, server), await openReplica(stack, server)];
  const conversation = createConversation('run_1');
  const said = [user('1')];
  t.deepEqual(await turn(t, a, conversation, said), [1]);
  said.push(user('2'), user('3'));
  t.deepEqual(await turn(t, b, conversation, [...said, user('a note')]), [3]);
  said.push(user('a note'), user('4'));
  t.deepEqual(await turn(t, a, conversation, [...said, user('another')]), [2]);
  said.push(user('another'), user('5'));
  t.deepEqual(await turn(t, a, conversation, said), [1]);
  t.deepEqual(await Promise.all([a.count('hit'), a.count('whole'), b.count('hit'), b.count('miss')]), [2, 1, 1, 0]);
});

test('what a model wrote into a call is kept as it wrote it', async (t) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const [a, b] = [await openReplica(stack, server), await openReplica(stack, server)];
  const conversation = createConversation('run_1');
  const json = '{"id":1790000000000000007}';
  const call = { callId: 'c1', tool: 'look', args: JSON.parse(json), json };
  const said: ChatMessage[] = [
    user('1'),
    { role: 'assistant', text: '', toolCalls: [call] },
    { role: 'tool', callId: 'c1', text: 'Seen.', isError: false },
  ];
  await turn(t, a, conversation, said);
  t.deepEqual(await turn(t, b, conversation, [...said, user('2')]), [1]);
});

test('whatever happens to a conversation and to what is kept of it, the model sees it whole', async (t) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const replicas = [await openReplica(stack, server), await openReplica(stack, server)];
  const args = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 });
  const message: fc.Arbitrary<ChatMessage> = fc.oneof(
    fc.record({ role: fc.constant('user' as const), text: fc.string({ unit: 'binary' }) }),
    fc.record(
      {
        isError: fc.boolean(),
        text: fc.string(),
        callId: fc.string(),
        role: fc.constant('tool' as const),
        image: fc.record({ base64: fc.base64String(), mediaType: fc.constant('image/png' as const) }),
      },
      { requiredKeys: ['isError', 'text', 'callId', 'role'] },
    ),
    fc.record(
      {
        reasoning: fc.string(),
        toolCalls: fc.array(fc.record({ args, tool: fc.constant('look'), callId: fc.constant('c') }), { maxLength: 2 }),
        text: fc.string(),
        role: fc.constant('assistant' as const),
      },
      { requiredKeys: ['toolCalls', 'text', 'role'] },
    ),
  );
  const change = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({ do: fc.constant('append' as const), messages: fc.array(message, { maxLength: 3 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('fork' as const),
        at: fc.nat(10),
        messages: fc.array(message, { maxLength: 2 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('system' as const), messages: fc.array(message, { maxLength: 2 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('forget' as const), messages: fc.array(message, { maxLength: 2 }) }),
    },
  );
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(change, fc.nat(1), fc.boolean()), { maxLength: 12 }), async (changes) => {
      const conversation = createConversation(`run_${++runs}`);
      let said: ChatMessage[] = [user('Begin.')];
      let system = 'one';
      for (const [what, which, noted] of changes) {
        const replica = replicas[which];
        if (!replica) throw new Error('there is no such replica');
        if (what.do === 'fork') said = said.slice(0, 1 + (what.at % said.length));
        if (what.do === 'system') system += '+';
        if (what.do === 'forget') await replica.redis.flushall();
        said = [...said, ...what.messages];
        // Fields in another order, and what JSON does not carry, must make no difference.
        const before = await replica.count('hit');
        const sent: ChatInput[] = [];
        if (noted) said = [...said, user('a note')];
        await conversation.ask({ system, tools, said }, async (input) => {
          sent.push(input);
          const request = await resolved(replica, input);
          const whole = ChatRequest.parse({ system, tools, messages: said });
          t.deepEqual([request.system, request.tools, request.messages], [whole.system, whole.tools, whole.messages]);
          return answer;
        });
        t.true(sent.length <= 2);
        if (sent[0]?.context?.count && what.do !== 'forget' && sent.length === 1)
          t.is(await replica.count('hit'), before + 1);
      }
    }),
    { numRuns: 60 },
  );
  t.true(((await replicas[0]?.count('hit')) ?? 0) > 50);
});

test('of an unchanged beginning nothing is sent again after a compaction or a fork', async (t) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const [a, b] = [await openReplica(stack, server), await openReplica(stack, server)];
  const conversation = createConversation('run_1');
  const said = Array.from({ length: 10 }, (_, index) => user(`${index}`));
  await turn(t, a, conversation, said);
  const compacted = [...said.slice(0, 4), user('shorter'), ...said.slice(5)];
  t.deepEqual(await turn(t, b, conversation, compacted), [6]);
  compacted.push(user('more'));
  t.deepEqual(await turn(t, b, conversation, compacted), [1]);
  // This instance still has the conversation as it was, which is no longer what the caller means.
  t.deepEqual(await turn(t, a, conversation, [...compacted, user('and more')]), [1]);
});

test('a conversation that is not kept as its caller believes is refused, and nothing is made up', async (t) => {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startRedis());
  const replica = await openReplica(stack, server);
  await turn(t, replica, createConversation('run_1'), [user('1'), user('2')]);
  const claim = (context: Partial<NonNullable<ChatInput['context']>>, more: Partial<ChatInput> = {}) =>
    resolved(replica, {
      ...{ system: '', messages: [user('3')], ...more },
      context: { id: 'run_1', count: 2, digest: 'ab'.repeat(32), keep: 1, ...context },
    });
  const missing = { instanceOf: Failure, code: 'context-missing' };
  await t.throwsAsync(claim({}), missing, 'another digest');
  await t.throwsAsync(claim({ digest: '' }), missing, 'no digest');
  await t.throwsAsync(claim({ id: 'run_2' }), missing, 'another id');
  await t.throwsAsync(claim({ count: 99 }), missing, 'more than there is');
  await t.throwsAsync(claim({ keep: 2 }), { code: 'invalid', message: /context\.keep/ });
  await t.throwsAsync(claim({}, { system: 'You are wordy.' }), { code: 'invalid', message: /leave out system/ });
  t.is(await replica.count('miss'), 4);
});

test('two proxies on one Redis: a run of thirty turns is sent whole once, and the provider sees it whole each time', async (t) => {
  await using system = await startProxySystem('openai', {
    script: ({ messages }) => ({ text: `Seen ${messages.length}.` }),
    environment: { RATE_LIMIT_REQUESTS: '1000' },
    proxies: 2,
  });
  const conversation = createConversation('run_1');
  const said: ChatMessage[] = [user('Begin.')];
  const turns = 30;
  for (let count = 1; count <= turns; count++) {
    const { answer: given } = await conversation.ask(
      { system: 'You are terse.', tools, said: [...said, user('a note')] },
      (input) => system.bus.ask(chat, input),
    );
    t.is(given.text, `Seen ${said.length + 1}.`);
    said.push(user('a note'), { role: 'assistant', text: given.text, toolCalls: [] }, user(`Go on ${count}.`));
  }
  t.is(system.fake.requests.length, turns);
  t.deepEqual(
    system.fake.requests.at(-1)?.messages.map(({ text }) => text),
    said.slice(0, -2).map(({ text }) => text),
  );
  const sum = async (beginning: string) => {
    const values = await Promise.all(system.proxies.map(({ port }) => readMetric(port, beginning)));
    t.true(values.every((value) => value !== undefined));
    return values.reduce<number>((total, value) => total + (value ?? 0), 0);
  };
  t.is(await sum('llm_context_requests_total{result="whole"'), 1);
  t.is(await sum('llm_context_requests_total{result="hit"'), turns - 1);
  t.is(await sum('llm_context_requests_total{result="miss"'), 0);
  t.true((await sum('llm_context_saved_bytes_total{')) > 10_000);
  t.is((await system.ledger()).length, turns);
});
