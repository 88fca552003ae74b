import type Anthropic from '@anthropic-ai/sdk';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type OpenAI from 'openai';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { FakeProvider, FakeScript } from '#test/helpers/fake-provider.ts';
import { startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startHttpProxy } from '#test/helpers/http-proxy.ts';
import { refusalOfResponses } from '#test/helpers/openai-rules.ts';
import { baseUrls } from '../../services/llm-proxy/config.ts';
import { openTraits } from '../../services/llm-proxy/models/schema.ts';
import { openUpstreams, wayTo } from '../../services/llm-proxy/upstreams/upstreams.ts';

const model = 'gpt-6.1-sol';
const rounds = 5;
const schema = { type: 'object' as const, properties: { at: { type: 'number' } }, required: ['at'] };
const used = { inputTokens: 1_000, outputTokens: 100, cachedInputTokens: 600, cacheWriteTokens: 200 };
/** At 2 dollars for a million tokens, 0.1 from the cache, 2.5 into it, and 10 for the answer. */
const cost = (200 * 2 + 600 * 0.1 + 200 * 2.5 + 100 * 10) / 1_000_000;

/** An agent's model: thinks, then looks five times, then says that it is done. */
const script: FakeScript = ({ messages, model }) => {
  const at = messages.filter(({ role }) => role === 'tool').length;
  const common = { usage: used, model, thinking: 'Hm.' };
  if (at >= rounds) return { ...common, text: 'Done.' };
  const toolCalls = [{ tool: 'look', args: { at }, callId: `call_${at}` }];
  return { ...common, ...(at === 1 ? { text: 'I look.' } : {}), toolCalls };
};

/** A proxy for which the fake is OpenAI itself. */
async function startOfficial(script: FakeScript) {
  await using stack = new AsyncDisposableStack();
  const openai = stack.use(await startFakeProvider({ script }));
  Object.assign(baseUrls, { openai: openai.openAiUrl });
  const environment = { OPENAI_BASE_URL: openai.openAiUrl, MODELS_FILE: 'config/models.toml', LLM_MODEL: model };
  const system = stack.use(await startHttpProxy('openai', { script, environment }));
  const owned = stack.move();
  return { ...system, provider: openai, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

type Input = { type?: string; role?: string; call_id?: string; id?: string; encrypted_content?: string }[];
const inputOf = ({ requests }: FakeProvider): Input => requests.at(-1)?.body.input as Input;
const calls = Array.from({ length: rounds }, (_, at) => `call_${at}`);

/** What the last request of such a conversation tells OpenAI of it. `thoughts`: how much thinking has come back. */
function tellsAll(t: ExecutionContext, fake: FakeProvider, thoughts: number) {
  t.is(fake.requests.length, rounds + 1);
  t.true(fake.requests.every(({ isResponses, body }) => isResponses === true && body.store === false));
  const input = inputOf(fake);
  const idsOf = (type: string) => input.filter((item) => item.type === type).map(({ call_id }) => call_id);
  t.deepEqual(idsOf('function_call'), calls);
  t.deepEqual(idsOf('function_call_output'), calls);
  const thinking = input.flatMap((item, index) => (item.type === 'reasoning' ? [index] : []));
  t.is(thinking.length, thoughts);
  for (const index of thinking) t.regex(input[index + 1]?.type ?? input[index + 1]?.role ?? '', /call|assistant/);
}

test.serial('an agent looks five times, and what the model thought comes back to it each time', async (t) => {
  await using system = await startOfficial(script);
  const tools = [{ name: 'look', description: 'Looks.', inputSchema: schema }];
  const messages: ChatMessage[] = [{ role: 'user', text: 'Look around.' }];
  for (let round = 0; round <= rounds; round++) {
    const { answer, facts } = await system.ask({ messages, tools, runId: 'run_1', temperature: 0.5 });
    t.like(facts, { usage: used, costUsd: cost });
    if (round === rounds) t.like(answer, { text: 'Done.', stopReason: 'end' });
    messages.push({ role: 'assistant', ...answer });
    for (const { callId } of answer.toolCalls) messages.push({ role: 'tool', callId, text: 'A wall.', isError: false });
  }
  tellsAll(t, system.provider, rounds);
  const { body } = system.provider.requests.at(-1) ?? {};
  t.like(body, { instructions: 'You are terse.', include: ['reasoning.encrypted_content'], prompt_cache_key: 'run_1' });
  t.false('temperature' in (body ?? {}));
  t.is((await system.ledger()).length, rounds + 1);
});

for (const stream of [true, false]) {
  const how = stream ? 'streamed' : 'whole';

  test.serial(`a client of Anthropic’s looks five times, ${how}, and gives back what the model thought`, async (t) => {
    await using system = await startOfficial(script);
    const messages: Anthropic.MessageParam[] = [{ role: 'user', content: 'Look around.' }];
    for (let round = 0; round <= rounds; round++) {
      const body = { model, max_tokens: 100, messages, tools: [{ name: 'look', input_schema: schema }] };
      const message = await (stream
        ? system.claude.messages.stream(body).finalMessage()
        : system.claude.messages.create(body));
      t.like(message.usage, { input_tokens: 200, cache_read_input_tokens: 600, output_tokens: 100 });
      if (round === rounds) t.is(message.stop_reason, 'end_turn');
      const content = message.content.flatMap((block) =>
        block.type === 'tool_use' ? [{ type: 'tool_result' as const, tool_use_id: block.id, content: 'A wall.' }] : [],
      );
      messages.push({ role: 'assistant', content: message.content }, { role: 'user', content });
    }
    tellsAll(t, system.provider, rounds);
    const events = await system.calls(rounds + 1);
    t.true(events?.every(({ data }) => data.costUsd === cost));
  });

  test.serial(`a client of chat completions looks five times, ${how}`, async (t) => {
    await using system = await startOfficial(script);
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Look around.' }];
    for (let round = 0; round <= rounds; round++) {
      const tools = [{ type: 'function' as const, function: { name: 'look', parameters: schema } }];
      const body = { model, messages, tools, reasoning_effort: 'high' as const };
      const answer = await (stream
        ? system.openai.chat.completions.stream(body).finalChatCompletion()
        : system.openai.chat.completions.create(body));
      const [choice] = answer.choices;
      if (!choice) return t.fail();
      if (!stream) t.like(answer.usage, { prompt_tokens: 1_000, completion_tokens: 100 });
      t.is(choice.finish_reason, round === rounds ? 'stop' : 'tool_calls');
      messages.push(choice.message);
      for (const { id } of choice.message.tool_calls ?? [])
        messages.push({ role: 'tool', tool_call_id: id, content: 'A wall.' });
    }
    tellsAll(t, system.provider, 0);
    t.like(system.provider.requests.at(-1)?.body, { reasoning: { effort: 'high' } });
  });
}

test.serial(
  'a model is asked by responses only where it must be, and passes where the client speaks them',
  async (t) => {
    await using system = await startOfficial(() => ({ text: 'Yes.' }));
    const look = { type: 'function', function: { name: 'look', parameters: schema } };
    const askedBy = async (path: string, body: object) => {
      const answer = await system.post(path, body);
      t.is(answer.status, 200, await answer.text());
      const { isResponses = false, body: sent } = system.provider.requests.at(-1) ?? {};
      return [isResponses, sent?.reasoning_effort ?? sent?.reasoning];
    };
    const chat = { messages: [{ role: 'user', content: 'Hi' }] };
    const path = '/v1/chat/completions';
    t.deepEqual(await askedBy(path, { ...chat, model }), [false, undefined]);
    t.deepEqual(await askedBy(path, { ...chat, model, tools: [look] }), [true, undefined]);
    t.deepEqual(await askedBy(path, { ...chat, model: 'gpt-5.3-codex' }), [true, undefined]);
    const terra = { ...chat, model: 'gpt-6.1-terra', tools: [look] };
    t.deepEqual(await askedBy(path, { ...terra, reasoning_effort: 'high' }), [true, { effort: 'high' }]);
    t.deepEqual(await askedBy(path, { ...terra, reasoning_effort: 'none' }), [false, 'none']);
    t.deepEqual(await askedBy(path, { ...chat, model: 'gpt-5.6', tools: [look] }), [false, undefined]);
    const messages = { ...chat, max_tokens: 9, tools: [{ name: 'look', input_schema: schema }] };
    t.deepEqual(await askedBy('/v1/messages', { ...messages, model: 'gpt-5.6' }), [false, 'none']);
    t.deepEqual(await askedBy('/v1/messages', { ...messages, model: 'gpt-6.1-terra' }), [true, undefined]);
    const own = { model, input: 'Hi', max_output_tokens: 20 };
    t.deepEqual(await askedBy('/v1/responses', own), [true, undefined]);
    t.deepEqual(system.provider.requests.at(-1)?.body, own, 'as it came');
  },
);

test.serial('thinking that OpenAI cannot read any more is left out, and the call made once more', async (t) => {
  await using system = await startOfficial(script);
  const tools = [{ name: 'look', description: 'Looks.', inputSchema: schema }];
  const messages: ChatMessage[] = [{ role: 'user', text: 'Look around.' }];
  const { answer } = await system.ask({ messages, tools });
  const reasoning = answer.reasoning?.replace(/"signature":"[^"]+"/, '"signature":"of-another-key"');
  const result = { role: 'tool' as const, callId: 'call_0', text: 'A wall.', isError: false };
  const next = await system.ask({
    messages: [...messages, { role: 'assistant', ...answer, reasoning }, result],
    tools,
  });
  t.is(next.answer.text, 'I look.');
  t.false(inputOf(system.provider).some(({ type }) => type === 'reasoning'));
});

test.serial('what a chat says of its price, its cache and its labels goes along', async (t) => {
  await using system = await startOfficial(() => ({ text: 'Yes.' }));
  const fields = { service_tier: 'flex', prompt_cache_key: 'mine', metadata: { run: '1' } };
  const tools = [{ type: 'function', function: { name: 'look', parameters: schema, strict: true } }];
  const body = { model, messages: [{ role: 'user', content: 'Hi' }], tools, temperature: 0.5, n: 1, ...fields };
  t.is((await system.post('/v1/chat/completions', body)).status, 200);
  t.like(system.provider.requests.at(-1), { isResponses: true, body: { ...fields, tools: [{ strict: false }] } });
  t.is((await system.post('/v1/chat/completions', { ...body, n: 2 })).status, 400, 'responses have no such thing');
});

test.serial(
  'OpenAI’s hosts for regions are asked by responses, and servers that only speak alike are not',
  async (t) => {
    await using upstreams = openUpstreams({ connections: 1, proxy: undefined });
    const wireAt = (baseUrl: string) => {
      const upstream = { label: 'x', keySetting: 'x', urlSetting: 'x', baseUrl };
      const times = { timeoutMs: 1, firstByteMs: 1, pieceMs: 1, weight: 1 };
      const endpoint = { ...times, name: baseUrl, wire: 'openai' as const, baseUrl, official: false, upstream };
      const remote = upstreams.remote({ ...endpoint, apiKey: () => undefined });
      return remote && wayTo(remote, { ...openTraits, responses_only: 'tools' }, [{}]).wire.name;
    };
    t.is(wireAt('https://eu.api.openai.com/v1'), 'openai-responses');
    for (const other of ['https://eu.api.openai.com.example.org/v1', 'http://127.0.0.1:11434/v1'])
      t.is(wireAt(other), 'openai-chat');
  },
);

for (const [reply, code] of [
  [{ fault: 'error-event' }, 'unavailable'],
  [{ fault: 'short' }, 'upstream'],
  [{ status: 429 }, 'limited'],
] as const) {
  test.serial(`responses that fail by ${JSON.stringify(reply)} fail as others do`, async (t) => {
    await using system = await startOfficial(() => reply);
    const tools = [{ name: 'look', description: 'Looks.', inputSchema: schema }];
    await t.throwsAsync(system.ask({ tools }), { code });
  });
}

test('the fake refuses what OpenAI does', (t) => {
  const call = { type: 'function_call', call_id: 'a', name: 'look', arguments: '{}' };
  const result = { type: 'function_call_output', call_id: 'a', output: 'x' };
  const thought = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' };
  const refusal = (input: object[], more = {}) => refusalOfResponses({ model, input, ...more }) ?? '';
  t.is(refusal([call, result]), '');
  t.regex(refusal([call]), /No tool output/);
  t.regex(refusal([result]), /No tool call found/);
  t.regex(refusal([thought]), /required following item/);
  t.regex(refusal([thought, call, result]), /could not be verified/);
  t.regex(refusal([], { max_output_tokens: 9 }), /max_output_tokens/);
});
