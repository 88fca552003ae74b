import test from 'ava';
import type { ChatInput, ChatMessage, ToolOffer } from '#shared/contracts/llm.ts';
import { chat } from '#shared/contracts/llm.ts';
import { askTarget } from '#test/helpers/contract-call.ts';
import type { FakeRequest } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startModels } from '#test/helpers/models.ts';
import { question, startProxySystem, wires } from '#test/helpers/proxy.ts';
import { createConversation } from '../../services/agent-runner/conversation.ts';

const offer = (name: string, chars: number): ToolOffer => ({
  name,
  description: 'd'.repeat(chars),
  inputSchema: { type: 'object', properties: {} },
});
const tools = [offer('look', 3_000), offer('see', 3_000)];
const system = `You are terse. ${'s'.repeat(2_000)}`;
const user = (text: string): ChatMessage => ({ role: 'user', text });

/** Where the marks of a body are, by the block that has them. */
function marksOf({ body }: FakeRequest): string[] {
  const marks: string[] = [];
  const look = (value: unknown, path: string) => {
    if (typeof value !== 'object' || value === null) return;
    if ('cache_control' in value) marks.push(path);
    for (const [key, part] of Object.entries(value)) look(part, `${path}/${key}`);
  };
  for (const key of ['tools', 'system', 'messages']) look(body[key], key);
  return marks;
}

test('anthropic: each call of a run begins with what the call before it had kept, notes included', async (t) => {
  await using fake = await startProxySystem('anthropic', {
    script: ({ turns }) => ({
      text: `Step ${turns}.`,
      thinking: 'Hm.',
      toolCalls: Array.from({ length: 1 + (turns % 3) }, (_, index) => ({
        tool: 'look',
        callId: `c${turns}_${index}`,
      })),
    }),
    environment: { RATE_LIMIT_REQUESTS: '1000' },
  });
  const conversation = createConversation('run_1');
  const said = [user('Begin.')];
  for (let count = 0; count < 6; count++) {
    if (count % 2 === 1) said.push(user(`Note ${count}.`));
    const { answer } = await conversation.ask({ system, tools, said, runId: 'run_1' }, (input) =>
      fake.bus.ask(chat, input),
    );
    const { text, toolCalls, reasoning } = answer;
    said.push({ role: 'assistant', text, toolCalls, ...(reasoning ? { reasoning } : {}) });
    for (const { callId } of toolCalls) said.push({ role: 'tool', callId, text: 'Seen.', isError: false });
  }
  const { requests } = fake.fake;
  t.is(requests.length, 6);
  t.deepEqual(marksOf(requests[0] as FakeRequest), ['tools/1', 'system/0', 'messages/0/content/0']);
  for (const [index, request] of requests.entries()) {
    const before = requests[index - 1];
    if (!before) continue;
    t.is(request.cached.length, 4);
    const kept = before.cached.at(-1) ?? '';
    t.true(request.cached.includes(kept), `call ${index + 1} finds all that call ${index} has kept`);
    t.true((request.cached.at(-1)?.length ?? 0) > kept.length, 'and keeps more');
  }
});

test('anthropic: what is asked once is not marked, nor what is too short to be kept', async (t) => {
  await using proxy = await startProxySystem('anthropic', { script: () => ({ text: 'Yes.' }) });
  const marks = async (input: Partial<ChatInput>) => {
    await proxy.ask(input);
    return marksOf(proxy.fake.requests.at(-1) as FakeRequest);
  };
  const context = { id: 'run_1', count: 0, digest: '', keep: 1 };
  const long = [user('u'.repeat(9_000))];
  t.deepEqual(await marks({ messages: long }), []);
  t.deepEqual(await marks({ messages: long, context }), ['messages/0/content/0']);
  t.deepEqual(await marks({ messages: [user('Hello?')], context }), []);
  t.deepEqual(await marks({ system, messages: [user('Hello?')], context }), []);
  t.deepEqual(await marks({ system, tools, messages: [user('Hello?')] }), ['tools/1', 'system/0']);
  t.deepEqual(await marks({ system: '', tools, messages: [user('Hello?')] }), ['tools/1']);
  t.deepEqual(await marks({ system: 's'.repeat(5_000), messages: [user('Hello?')] }), ['system/0']);
  const goesOn: ChatMessage[] = [...long, { role: 'assistant', text: 'Yes?', toolCalls: [] }, user('Well?')];
  t.deepEqual(await marks({ messages: goesOn }), ['messages/0/content/0', 'messages/2/content/0']);
});

for (const wire of wires) {
  test(`${wire}: tokens read from and written to the provider's cache are counted, as parts of the input`, async (t) => {
    const usage = { inputTokens: 1_000, outputTokens: 10, cachedInputTokens: 600, cacheWriteTokens: 300 };
    await using proxy = await startProxySystem(wire, { script: () => ({ text: 'Yes.', usage }) });
    t.deepEqual((await proxy.ask()).facts.usage, usage);
    t.deepEqual((await proxy.ledger())[0]?.data.usage, usage);
  });
}

test('openai: a run has a key of its own in the prompt cache of OpenAI, and others are sent none', async (t) => {
  await using fake = await startFakeProvider({ script: () => ({ text: 'Yes.' }) });
  await using opened = await startModels('', { OPENAI_API_KEY: 'sk-1234567', OPENAI_BASE_URL: fake.openAiUrl });
  const [target] = opened.models.targets('m');
  if (!target) throw new Error('nobody serves it');
  const keyOf = async (official: boolean | undefined, more: Partial<ChatInput>) => {
    const endpoint = official === undefined ? target.endpoint : { ...target.endpoint, official };
    await askTarget({ ...target, endpoint }, { ...question('Hello?'), ...more }, AbortSignal.timeout(5_000));
    const last = fake.requests.at(-1);
    return [last?.cacheKey, last !== undefined && 'max_completion_tokens' in last.body];
  };
  const context = { id: 'run_2', count: 0, digest: '', keep: 1 };
  t.deepEqual(await keyOf(true, { runId: 'run_1' }), ['run_1', true]);
  t.deepEqual(await keyOf(true, { runId: 'run_1', context }), ['run_2', true]);
  t.deepEqual(await keyOf(true, { context: { ...context, id: 'x'.repeat(200) } }), ['x'.repeat(64), true]);
  t.deepEqual(await keyOf(true, {}), [undefined, true]);
  t.deepEqual(
    await keyOf(undefined, { runId: 'run_1', context }),
    [undefined, false],
    'by its address it is not OpenAI',
  );
});
