import test from 'ava';
import fc from 'fast-check';
import { z } from 'zod';
import { refusalOfAnthropic } from '#test/helpers/anthropic-rules.ts';
import { anyText, chatBody, meaningOf } from '#test/helpers/wire-arbitraries.ts';
import { fitToModel } from '../../services/llm-proxy/wires/fit-to-model.ts';
import type { PivotRequest } from '../../services/llm-proxy/wires/pivot.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const options = { model: 'target', maxTokensDefault: 4_096 };
const fitted = { ...options, traits: { system_messages: true } };

const Block = z.looseObject({ type: z.string(), id: z.string().optional(), tool_use_id: z.string().optional() });
const Turns = z.array(z.object({ role: z.enum(['user', 'assistant', 'system']), content: z.array(Block) }));

/** What Anthropic's API refuses, and the types do not say. */
function breaksOf(body: Record<string, unknown>): string[] {
  const turns = Turns.parse(body.messages);
  const refused = refusalOfAnthropic(body);
  const said = turns.filter(({ role }) => role !== 'system');
  return [
    ...(refused === undefined ? [] : [refused]),
    ...turns.flatMap(({ role }, index) => (role === turns[index + 1]?.role ? [`two turns of ${role}`] : [])),
    ...(said[0]?.role === 'user' && said.at(-1)?.role === 'user' ? [] : ['the user is not first and last']),
    ...turns.flatMap(({ content }) => (content.length === 0 ? ['an empty turn'] : [])),
    ...JSON.stringify(body.messages).matchAll(/"type":"text","text":"(\\n| )*"/g),
    ...turns.flatMap(({ content }, index) => {
      const called = content.flatMap(({ type, id }) => (type === 'tool_use' ? [id] : []));
      const next = turns[index + 1]?.content ?? [];
      const answered = next.slice(0, called.length).map(({ tool_use_id }) => tool_use_id);
      return called.every((id, at) => id === answered[at]) ? [] : ['results are not first, or not all there'];
    }),
  ].map(String);
}

type Meaning = ReturnType<typeof meaningOf>;

/** What Anthropic's rules change in a request: limits that it needs or refuses, and schemas of closed objects. */
function asFitted(asked: PivotRequest): PivotRequest {
  const { responseFormat: format, temperature, topP, tools } = asked;
  const closed = (schema: Record<string, unknown>) => ({ ...schema, additionalProperties: false });
  return {
    ...asked,
    maxTokens: asked.maxTokens ?? 4_096,
    topP: temperature === undefined ? topP : undefined,
    tools: tools.map((tool) => (tool.strict ? { ...tool, schema: closed(tool.schema) } : tool)),
    responseFormat: typeof format === 'object' ? { ...format, schema: closed(format.schema) } : format,
  };
}

/** A meaning with what the system said apart: it may have moved behind the turn, or into the user's words. */
function apart({ said, ...meaning }: Meaning) {
  const marked = /^<system>\n([\s\S]*)\n<\/system>$/;
  const textOf = (part: unknown) => z.looseObject({ text: z.string() }).safeParse(part).data?.text ?? '';
  const ordered: string[] = [];
  const rest: Meaning['said'] = [];
  for (const { parts, ...message } of said) {
    const isSystem = (part: unknown) => message.role === 'system' || marked.test(textOf(part));
    ordered.push(...parts.filter(isSystem).map((part) => textOf(part).replace(marked, '$1')));
    const others = parts.filter((part) => !isSystem(part));
    const last = rest.at(-1);
    if (message.role === 'tool') rest.push({ ...message, parts: others });
    else if (others.length > 0 && last?.role === message.role) last.parts.push(...others);
    else if (others.length > 0) rest.push({ ...message, parts: others });
  }
  return { ...meaning, said: rest, ordered };
}

test('a chat request goes to Anthropic by its rules, and comes back with the meaning it had', (t) => {
  fc.assert(
    fc.property(chatBody, (body) => {
      const asked = openAiChat.readRequest(body);
      const written = anthropic.writeRequest(asked, fitted);
      t.deepEqual(breaksOf(written), []);
      const back = openAiChat.readRequest(openAiChat.writeRequest(anthropic.readRequest(written), options));
      t.deepEqual(apart(meaningOf(back)), apart(meaningOf(asFitted(asked))));
    }),
    { numRuns: 300 },
  );
});

test('a chat request that went through the pivot and nothing else is the same', (t) => {
  fc.assert(
    fc.property(chatBody, (body) => {
      const asked = openAiChat.readRequest(body);
      t.deepEqual(meaningOf(openAiChat.readRequest(openAiChat.writeRequest(asked, options))), meaningOf(asked));
    }),
  );
});

test('a request of the responses API means what the same chat request means', (t) => {
  fc.assert(
    fc.property(
      fc.tuple(anyText, anyText, fc.dictionary(fc.stringMatching(/^[a-z]{1,5}$/), anyText)),
      ([first, said, args]) => {
        const call = { name: 'look', arguments: JSON.stringify(args) };
        const parameters = { type: 'object', properties: { at: { type: 'string' } } };
        const image = 'https://example.org/a.png';
        const chat = openAiChat.readRequest({
          model: 'm',
          messages: [
            { role: 'system', content: 'Be short.' },
            {
              role: 'user',
              content: [
                { type: 'text', text: first },
                { type: 'image_url', image_url: { url: image } },
              ],
            },
            { role: 'assistant', content: said, tool_calls: [{ id: 'call_1', type: 'function', function: call }] },
            { role: 'tool', tool_call_id: 'call_1', content: 'seen' },
          ],
          tools: [{ type: 'function', function: { name: 'look', parameters, strict: true } }],
          tool_choice: { type: 'function', function: { name: 'look' } },
          response_format: { type: 'json_schema', json_schema: { name: 'a', schema: parameters, strict: true } },
          max_completion_tokens: 9,
          reasoning_effort: 'low',
        });
        const responses = openAiResponses.readRequest({
          model: 'm',
          instructions: 'Be short.',
          input: [
            {
              role: 'user',
              content: [
                { type: 'input_text', text: first },
                { type: 'input_image', image_url: image, detail: 'auto' },
              ],
            },
            { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' },
            {
              id: 'msg_1',
              type: 'message',
              role: 'assistant',
              status: 'completed',
              content: [{ type: 'output_text', text: said, annotations: [] }],
            },
            { id: 'fc_1', type: 'function_call', call_id: 'call_1', status: 'completed', ...call },
            { type: 'function_call_output', call_id: 'call_1', output: 'seen' },
          ],
          tools: [{ type: 'function', name: 'look', parameters, strict: true }],
          tool_choice: { type: 'function', name: 'look' },
          text: { format: { type: 'json_schema', name: 'a', schema: parameters, strict: true } },
          max_output_tokens: 9,
          reasoning: { effort: 'low', summary: 'auto' },
          store: false,
          include: ['reasoning.encrypted_content'],
        });
        t.deepEqual(meaningOf(responses), meaningOf(chat));
      },
    ),
  );
});

test('a failed result and its picture reach OpenAI, in words and after the results of the turn', (t) => {
  const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' };
  const asked = anthropic.readRequest({
    model: 'm',
    max_tokens: 10,
    thinking: { type: 'adaptive' },
    messages: [
      { role: 'user', content: 'Look.' },
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'Hm.', signature: 's' },
          { type: 'tool_use', id: 'a', name: 'look', input: {} },
          { type: 'tool_use', id: 'b', name: 'look', input: { at: 1 }, cache_control: { type: 'ephemeral' } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'a', is_error: true, content: 'no light' },
          { type: 'tool_result', tool_use_id: 'b', content: [{ type: 'image', source }] },
          { type: 'text', text: 'And?' },
        ],
      },
    ],
  });
  t.deepEqual(openAiChat.writeRequest(asked, options).messages, [
    { role: 'user', content: 'Look.' },
    {
      role: 'assistant',
      content: null,
      tool_calls: [
        { id: 'a', type: 'function', function: { name: 'look', arguments: '{}' } },
        { id: 'b', type: 'function', function: { name: 'look', arguments: '{"at":1}' } },
      ],
    },
    {
      role: 'tool',
      tool_call_id: 'a',
      content: 'Error: no light',
    },
    { role: 'tool', tool_call_id: 'b', content: '' },
    {
      role: 'user',
      content: [
        { type: 'text', text: 'From the result of the tool call b:' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
      ],
    },
    { role: 'user', content: 'And?' },
  ]);
});

test('ids of other servers become ids that Anthropic takes, calls and results alike', (t) => {
  const asked = openAiChat.readRequest({
    model: 'm',
    messages: [
      { role: 'user', content: 'Go.' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'functions.go:0', type: 'function', function: { name: 'go', arguments: '' } },
          { id: 'functions_go_0', type: 'function', function: { name: 'go', arguments: '' } },
        ],
      },
      { role: 'tool', tool_call_id: 'functions.go:0', content: 'a' },
      { role: 'tool', tool_call_id: 'functions_go_0', content: 'b' },
    ],
  });
  const turns = Turns.parse(anthropic.writeRequest(asked, options).messages);
  const called = turns[1]?.content.map(({ id }) => id) ?? [];
  t.is(new Set(called).size, 2);
  t.true(called.every((id) => /^[a-zA-Z0-9_-]+$/.test(id ?? '')));
  t.deepEqual(
    turns[2]?.content.map(({ tool_use_id }) => tool_use_id),
    called,
  );
});

test('a model is sent no temperature that it refuses, and is asked in words for a tool it cannot be made to call', (t) => {
  const asked = openAiChat.readRequest({
    model: 'm',
    temperature: 0,
    messages: [{ role: 'user', content: 'Go.' }],
    tools: [{ type: 'function', function: { name: 'go' } }],
    tool_choice: { type: 'function', function: { name: 'go' } },
  });
  const plain = { forced_tools: true, temperature: true };
  t.deepEqual(fitToModel(asked, plain), asked);
  const fit = fitToModel(asked, { forced_tools: false, temperature: false, tools_reasoning_effort: 'none' });
  t.deepEqual([fit.temperature, fit.toolChoice, fit.reasoningEffort], [undefined, 'auto', 'none']);
  t.true(JSON.stringify(anthropic.writeRequest(fit, options).messages).includes('one call of the tool \\"go\\"'));
});
