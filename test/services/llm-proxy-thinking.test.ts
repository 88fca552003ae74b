import test from 'ava';
import type { ChatInput, ChatMessage, ChatResponse, ToolOffer } from '#shared/contracts/llm.ts';
import type { FakeReply, FakeScript } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { modelsFileIn } from '#test/helpers/models.ts';
import { startProxySystem } from '#test/helpers/proxy.ts';
import { signing } from '#test/helpers/signing-provider.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const offer = (name: string): ToolOffer => ({ name, description: `It is ${name}.`, inputSchema: { type: 'object' } });
const look: FakeReply = { text: 'I look.', toolCalls: [{ tool: 'look' }] };
const tools = [offer('look')];
const start: ChatInput = {
  model: 'claude-a',
  system: 'You are terse.',
  tools,
  messages: [{ role: 'user', text: 'Go.' }],
};

/** The call that follows an answer: the answer, and what came of its calls. */
function after(input: ChatInput, { answer }: ChatResponse, result = 'Seen.'): ChatInput {
  const { text, toolCalls, reasoning } = answer;
  const turn = input.messages.length;
  const calls = toolCalls.map((each, index) => ({ ...each, callId: `call_${turn}_${index}` }));
  const results = calls.map(({ callId }): ChatMessage => ({ role: 'tool', callId, text: result, isError: false }));
  const said: ChatMessage = { role: 'assistant', text, toolCalls: calls, ...(reasoning ? { reasoning } : {}) };
  return { ...input, messages: [...input.messages, said, ...(results.length > 0 ? results : [user('On.')])] };
}

const user = (text: string): ChatMessage => ({ role: 'user', text });

/** A proxy before a provider that signs its thinking, and how much of it the model saw of each call. */
async function open(script: FakeScript = () => look) {
  const signed = signing(script);
  const proxy = await startProxySystem('anthropic', { script: signed.script });
  return {
    ...{ proxy, signed },
    seen: () => signed.answered.map(({ seen }) => seen),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

const changes: Record<string, (second: ChatInput) => ChatInput> = {
  'other instructions': (second) => ({ ...second, system: 'You are kind.' }),
  'another tool': (second) => ({ ...second, tools: [offer('look'), offer('act')] }),
  'a tool that is described otherwise': (second) => ({
    ...second,
    tools: [{ ...offer('look'), description: 'Other.' }],
  }),
  'another model': (second) => ({ ...second, model: 'claude-b' }),
  'an earlier message that is shorter': (second) => ({
    ...second,
    messages: [user('G.'), ...second.messages.slice(1)],
  }),
  'an earlier message that is new': (second) => ({ ...second, messages: [user('Before.'), ...second.messages] }),
  'no word on what it was made from': (second) => ({ ...second, messages: second.messages.map(unbound) }),
};

/** As answers had it before. */
function unbound(message: ChatMessage): ChatMessage {
  if (message.role !== 'assistant') return message;
  return { ...message, reasoning: JSON.stringify({ anthropic: JSON.parse(message.reasoning ?? '').anthropic }) };
}

for (const [what, change] of Object.entries(changes)) {
  test(`thinking before ${what} is left out, and all behind it goes back`, async (t) => {
    await using opened = await open();
    const first = await opened.proxy.ask(start);
    const second = change(after(after(start, first), await opened.proxy.ask(after(start, first))));
    const third = after(second, await opened.proxy.ask(second));
    await opened.proxy.ask(after(third, await opened.proxy.ask(third)));
    t.deepEqual(opened.seen(), [0, 1, 0, 1, 2]);
    t.deepEqual(opened.signed.refusals, []);
    const messages = (opened.proxy.fake.requests[2]?.body.messages ?? []) as { role: string; content: object[] }[];
    const said = messages.find(({ role }) => role === 'assistant');
    t.deepEqual(
      said?.content.map((block) => ('type' in block ? block.type : '')),
      ['text', 'tool_use'],
      'and no more',
    );
  });
}

test('a call that was cut off in the middle takes its thinking along, and all before it', async (t) => {
  let count = 0;
  await using opened = await open(() =>
    ++count === 2 ? { text: 'I', toolCalls: [{ tool: 'look', raw: '{"a' }], stopReason: 'max_tokens' } : look,
  );
  let input = start;
  for (let turn = 0; turn < 5; turn++) input = after(input, await opened.proxy.ask(input));
  t.deepEqual(opened.seen(), [0, 1, 0, 1, 2]);
  t.deepEqual(opened.signed.refusals, []);
});

test('thinking of the same model at another endpoint is left out', async (t) => {
  const signed = signing(() => look);
  await using fake = await startFakeProvider({ script: signed.script });
  await using folder = await temporaryFolder();
  const endpoints = ['north', 'south'].map(
    (name) => `[[endpoints]]\nname = "${name}"\nwire = "anthropic"\nbase_url = "${fake.url}"\n`,
  );
  await using proxy = await startProxySystem('anthropic', {
    script: () => ({ status: 500 }),
    environment: { MODELS_FILE: await modelsFileIn(folder.path, endpoints.join('')) },
  });
  let input = start;
  for (const model of ['north/claude-a', 'south/claude-a', 'south/claude-a', 'north/claude-a']) {
    input = after(input, await proxy.ask({ ...input, model }));
  }
  t.deepEqual(
    signed.answered.map(({ seen }) => seen),
    [0, 0, 1, 0],
  );
});

test('a refusal of thinking is tried once more without, and thinking begins anew there', async (t) => {
  let refuses = true;
  const signed = signing(() => look);
  await using proxy = await startProxySystem('anthropic', {
    script: (request, count) => {
      const hasThinking = JSON.stringify(request.body.messages).includes('"type":"thinking"');
      if (refuses && hasThinking)
        return { status: 400, message: 'messages.1.content.0: Invalid `signature` in `thinking` block' };
      return signed.script(request, count);
    },
  });
  const second = after(start, await proxy.ask(start));
  const third = after(second, await proxy.ask(second));
  refuses = false;
  await proxy.ask(after(third, await proxy.ask(third)));
  t.deepEqual(
    signed.answered.map(({ seen }) => seen),
    [0, 0, 1, 2],
  );
  t.is(proxy.fake.requests.length, 5, 'one of them was refused');
  t.deepEqual(signed.refusals, []);
  const events = await proxy.ledger();
  t.deepEqual(
    events.map(({ data }) => data.outcome),
    ['ok', 'ok', 'ok', 'ok'],
  );

  proxy.fake.play(() => ({ status: 400, message: 'messages.1.content.0: Invalid `signature` in `thinking` block' }));
  await t.throwsAsync(proxy.ask(third), { code: 'invalid', message: /Invalid `signature`/ }, 'and no more than once');
  t.is(proxy.fake.requests.length, 7);
  proxy.fake.play(() => ({ status: 400, message: 'max_tokens: must be at most 5' }));
  await t.throwsAsync(proxy.ask(third), { code: 'invalid' });
  t.is(proxy.fake.requests.length, 8, 'another refusal is not tried again');
});

const refusal =
  'messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation.';
const history = {
  max_tokens: 100,
  messages: [
    { role: 'user', content: [{ type: 'text', text: 'Go.' }] },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Hm.', signature: 'of another' },
        { type: 'text', text: 'I look.' },
      ],
    },
    { role: 'user', content: [{ type: 'text', text: 'On.' }] },
  ],
};
const [asked, said, next] = history.messages;
const withoutIt = [asked, { ...said, content: said?.content.slice(1) }, next];

test('to clients a refusal of thinking is passed on, unless the model is of our choice: then it is left out', async (t) => {
  await using folder = await temporaryFolder();
  const script: FakeScript = ({ body }) =>
    JSON.stringify(body).includes('of another') ? { status: 400, message: refusal } : { text: 'Seen.' };
  await using proxy = await startHttpProxy('anthropic', {
    script,
    environment: {
      MODELS_FILE: await modelsFileIn(
        folder.path,
        '[aliases]\nclever = ["anthropic/claude-a", "anthropic/claude-b"]\none = "anthropic/claude-a"\n',
      ),
    },
  });
  for (const model of ['claude-a', 'one']) {
    const refused = await proxy.post('/v1/messages', { model, ...history });
    t.is(refused.status, 400);
    t.like(await refused.json(), { type: 'error', error: { message: refusal } });
  }
  t.is(proxy.fake.requests.length, 2);
  for (const stream of [false, true]) {
    const answered = await proxy.post('/v1/messages', { model: 'clever', stream, ...history });
    t.is(answered.status, 200);
    t.regex(await answered.text(), stream ? /"text_delta","text":"Se/ : /"text":"Seen\."/);
    t.deepEqual(proxy.fake.requests.at(-2)?.body.messages, history.messages);
    t.deepEqual(proxy.fake.requests.at(-1)?.body.messages, withoutIt);
    t.is(proxy.fake.requests.at(-1)?.model, 'claude-a');
  }
  t.is((await proxy.calls(4)).length, 4);
});
