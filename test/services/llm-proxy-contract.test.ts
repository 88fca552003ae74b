import test from 'ava';
import type { ChatInput, ChatMessage } from '#shared/contracts/llm.ts';
import { shortChat, shortMessages, startHttpProxy } from '#test/helpers/http-proxy.ts';
import { keyOfTests, startProxySystem, wires } from '#test/helpers/proxy.ts';
import { startRaw } from '#test/helpers/raw-provider.ts';

type Json = Record<string, unknown>;

/** A conversation that goes on after one call of the given answer. */
const goOn = (answer: { text: string; toolCalls: unknown[]; reasoning?: string | undefined }): ChatMessage[] => {
  const toolCalls = (answer.toolCalls as Extract<ChatMessage, { role: 'assistant' }>['toolCalls']).map(
    (call, index) => {
      return { ...call, callId: `call_1_${index + 1}` };
    },
  );
  const results = toolCalls.map(({ callId }) => ({ role: 'tool' as const, callId, text: 'Seen.', isError: false }));
  const { text, reasoning } = answer;
  const said: ChatMessage = { role: 'assistant', text, toolCalls, ...(reasoning === undefined ? {} : { reasoning }) };
  return [{ role: 'user', text: 'Hello?' }, said, ...results];
};

/** A provider that keeps all bodies, and answers each with the stream. */
async function startKeeping(stream: string, type = 'text/event-stream') {
  const bodies: Json[] = [];
  const provider = await startRaw((_, body, response) => {
    bodies.push(JSON.parse(body));
    response.writeHead(200, { 'content-type': type }).end(stream);
  });
  return { bodies, ...provider };
}

test('thinking goes back to the model that thought it, and to no other', async (t) => {
  await using system = await startProxySystem('anthropic', {
    script: ({ turns }) =>
      turns > 0
        ? { text: 'Seen.' }
        : { thinking: 'Hm.', text: 'Look:', toolCalls: [{ tool: 'look', args: { at: 'a' } }] },
  });
  const { answer } = await system.ask({ model: 'claude-a' });
  const kinds = async (model: string, reasoning: string | undefined) => {
    await system.ask({ model, messages: goOn({ ...answer, reasoning }) });
    const messages = system.fake.requests.at(-1)?.body.messages as { content: { type: string }[] }[];
    return messages[1]?.content.map(({ type }) => type);
  };
  t.deepEqual(await kinds('claude-a', answer.reasoning), ['thinking', 'text', 'tool_use']);
  t.deepEqual(await kinds('claude-b', answer.reasoning), ['text', 'tool_use']);
  const { prompt: _, ...former } = JSON.parse(answer.reasoning ?? '');
  t.deepEqual(
    await kinds('claude-a', JSON.stringify(former)),
    ['text', 'tool_use'],
    'what it was made from is not known',
  );
  t.deepEqual(await kinds('claude-a', 'no JSON'), ['text', 'tool_use']);
});

test('reasoning_content goes back with the calls that it led to', async (t) => {
  const chunk = (delta: Json, finish_reason: string | null = null) =>
    `data: ${JSON.stringify({ id: 'c', model: 'm', choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  const call = { index: 0, id: 'a', type: 'function', function: { name: 'look', arguments: '{}' } };
  await using provider = await startKeeping(
    [
      chunk({ reasoning_content: 'Hm, ' }),
      chunk({ reasoning_content: 'a file.' }),
      chunk({ tool_calls: [call] }, 'tool_calls'),
    ].join(''),
  );
  await using system = await startProxySystem('openai', { script: () => ({}), environment: provider.environment });
  const { answer } = await system.ask({ model: 'kimi' });
  t.is(answer.text, '');
  const thinkingTo = async (model: string) => {
    await system.ask({ model, messages: goOn(answer) });
    const messages = provider.bodies.at(-1)?.messages ?? [];
    return (messages as Json[]).map(({ reasoning_content }) => reasoning_content);
  };
  t.deepEqual(await thinkingTo('kimi'), [undefined, undefined, 'Hm, a file.', undefined]);
  t.deepEqual(await thinkingTo('another'), [undefined, undefined, undefined, undefined]);
});

for (const wire of wires) {
  test(`${wire}: agents and clients show a provider the same credentials and versions`, async (t) => {
    await using proxy = await startHttpProxy(wire, { script: () => ({ text: 'Yes.' }) });
    await proxy.ask();
    await proxy.post('/v1/chat/completions', shortChat);
    await proxy.post('/v1/messages', shortMessages);
    const shown = proxy.fake.requests.map(({ headers }) => [
      headers['anthropic-version'],
      headers['x-api-key'],
      headers.authorization,
    ]);
    // The fake is not at Anthropic's own address: some who speak alike read one header, some the other.
    const expected =
      wire === 'anthropic'
        ? ['2023-06-01', keyOfTests, `Bearer ${keyOfTests}`]
        : [undefined, undefined, `Bearer ${keyOfTests}`];
    t.deepEqual(shown, [expected, expected, expected]);
  });

  test(`${wire}: what a model wrote as arguments is told as it wrote it, where an object does not hold it`, async (t) => {
    const raw = '{"10": 1, "2": 1790000000000000007, "b": 1.0, "a": "\\u00fc"}';
    await using system = await startProxySystem(wire, {
      script: ({ turns }) =>
        turns > 0
          ? { text: 'Seen.' }
          : {
              toolCalls: [
                { tool: 'look', raw },
                { tool: 'look', raw: '{"at": "\\u00fc"}' },
              ],
            },
    });
    const { answer } = await system.ask();
    t.is(answer.toolCalls[0]?.json, raw);
    t.is(answer.toolCalls[1]?.json, undefined, 'the object says it all');
  });

  test(`${wire}: a server that answers whole although it was asked for a stream is read`, async (t) => {
    const usage = { input_tokens: 5, output_tokens: 2, prompt_tokens: 5, completion_tokens: 2 };
    const whole =
      wire === 'anthropic'
        ? { id: 'm', model: 'm', content: [{ type: 'text', text: 'Yes.' }], stop_reason: 'end_turn' }
        : { id: 'c', model: 'm', choices: [{ message: { content: 'Yes.' }, finish_reason: 'stop' }] };
    await using provider = await startKeeping(JSON.stringify({ ...whole, usage }), 'application/json');
    await using system = await startProxySystem(wire, { script: () => ({}), environment: provider.environment });
    const { answer, facts } = await system.ask();
    t.deepEqual([answer.text, answer.stopReason, facts.usage.inputTokens], ['Yes.', 'end', 5]);
  });
}
test('anthropic: numbers beyond 2^53 stand in the body as they were written', async (t) => {
  let body = '';
  await using provider = await startRaw((_, sent, response) => {
    body = sent;
    response.writeHead(500).end();
  });
  const environment = provider.environment;
  await using system = await startProxySystem('anthropic', { script: () => ({}), environment });
  const input: Partial<ChatInput> = {
    messages: goOn({
      text: '',
      toolCalls: [{ callId: 'x', tool: 'look', args: {}, json: '{"b":1.0,"a":1790000000000000007}' }],
    }),
  };
  await t.throwsAsync(system.ask(input));
  t.true(body.includes('"input":{"b":1.0,"a":1790000000000000007}'), body);
});
