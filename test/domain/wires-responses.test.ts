import test from 'ava';
import fc from 'fast-check';
import { Failure } from '#shared/errors.ts';
import { refusalOfResponses } from '#test/helpers/openai-rules.ts';
import { chatBody, meaningOf } from '#test/helpers/wire-arbitraries.ts';
import { collect } from '../../services/llm-proxy/wires/answers.ts';
import { readRequest } from '../../services/llm-proxy/wires/contract/read-request.ts';
import { createAnswerWriter } from '../../services/llm-proxy/wires/contract/write-answer.ts';
import type { JsonObject, PivotEvent, PivotRequest, ThinkingPart } from '../../services/llm-proxy/wires/pivot.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const options = { model: 'target', maxTokensDefault: 4_096 };
const plain = { ...options, traits: { efforts: [] } };
const write = (request: PivotRequest): JsonObject => openAiResponses.writeRequest(request, options);

/** What this wire changes in a request: the least of its tokens, its one text for the system, and what is strict if nothing is said. */
function asWritten(asked: PivotRequest): PivotRequest {
  const { maxTokens, system, tools } = asked;
  const text = system.map((part) => part.text).join('\n\n');
  return {
    ...asked,
    maxTokens: maxTokens === null ? null : Math.max(maxTokens, 16),
    system: text === '' ? [] : [{ type: 'text', text }],
    tools: tools.map((tool) => ({ ...tool, strict: tool.strict ?? false })),
  };
}

test('a chat request goes to OpenAI’s responses by its rules, and comes back with the meaning it had', (t) => {
  fc.assert(
    fc.property(chatBody, ({ stop: _, ...body }) => {
      const asked = openAiChat.readRequest(body);
      const written = write(asked);
      t.is(
        refusalOfResponses(openAiResponses.writeRequest({ ...asked, reasoningEffort: undefined }, plain)),
        undefined,
      );
      const { include, ...rest } = written;
      t.deepEqual(include, ['reasoning.encrypted_content']);
      t.deepEqual(meaningOf(openAiResponses.readRequest(rest)), meaningOf(asWritten(asked)));
    }),
    { numRuns: 200 },
  );
});

const thinking = (more: Partial<ThinkingPart> = {}): ThinkingPart => ({
  ...{ type: 'thinking', of: 'openai-responses', model: 'target', text: '', id: 'rs_1', signature: 'sealed' },
  ...more,
});
const request = openAiChat.readRequest({ model: 'm', messages: [{ role: 'user', content: 'Hi.' }] });
const call = { type: 'toolCall' as const, id: 'call_1', name: 'look', args: '{}' };
const inputAfter = (parts: Extract<PivotRequest['messages'][number], { role: 'assistant' }>['parts']) =>
  write({ ...request, messages: [{ role: 'assistant', parts }] }).input;
const item = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'sealed' };
const called = { type: 'function_call', call_id: 'call_1', name: 'look', arguments: '{}' };

test('thinking goes back to the model that made it, in its place, and to no other', (t) => {
  t.deepEqual(inputAfter([thinking(), call]), [item, called]);
  t.deepEqual(inputAfter([thinking(), { type: 'text', text: 'I look.' }, thinking({ id: 'rs_2' }), call]), [
    item,
    { role: 'assistant', content: 'I look.' },
    { ...item, id: 'rs_2' },
    called,
  ]);
  const shown = { ...item, summary: [{ type: 'summary_text', text: 'Hm.' }] };
  t.deepEqual(inputAfter([thinking({ text: 'Hm.' }), call]), [shown, called]);
  for (const foreign of [{ model: 'other' }, { of: 'anthropic' as const }, { id: undefined }, { signature: undefined }])
    t.deepEqual(inputAfter([thinking(foreign), call]), [called]);
  t.deepEqual(inputAfter([call, thinking()]), [called], 'nothing follows it');
});

test('a failed result, its picture, a PDF and a long id are told as this wire has words for them', (t) => {
  const id = `call_${'x'.repeat(80)}`;
  const image = { type: 'image' as const, source: { kind: 'url' as const, url: 'https://example.org/a.png' } };
  const file = { type: 'file' as const, mediaType: 'application/pdf' as const, data: 'JVBERg==' };
  const messages: PivotRequest['messages'] = [
    { role: 'assistant', parts: [{ ...call, id }] },
    { role: 'tool', callId: id, isError: true, parts: [{ type: 'text', text: 'No.' }, image] },
    { role: 'user', parts: [file] },
    { role: 'system', parts: [{ type: 'text', text: 'French.' }] },
  ];
  const body = openAiResponses.writeRequest({ ...request, messages }, plain);
  t.is(refusalOfResponses(body), undefined);
  t.like((body.input as JsonObject[]).slice(1), [
    {
      type: 'function_call_output',
      output: [
        { type: 'input_text', text: 'Error: No.' },
        { type: 'input_image', image_url: 'https://example.org/a.png', detail: 'auto' },
      ],
    },
    { role: 'user', content: [{ type: 'input_file', filename: 'document.pdf' }] },
    { role: 'developer', content: 'French.' },
  ]);
});

test('what this wire has no word for is refused by its name', (t) => {
  const error = t.throws(() => write({ ...request, stop: ['x'], topK: 3 }), { instanceOf: Failure });
  t.deepEqual(
    error?.problems?.map(({ field }) => field),
    ['stop', 'top_k'],
  );
});

function readAll(events: JsonObject[]): PivotEvent[] {
  const reader = openAiResponses.createEventReader();
  return [...events.flatMap((data) => reader.read({ data: JSON.stringify(data) })), ...reader.end()];
}
const usage = {
  ...{ input_tokens: 100, output_tokens: 20, total_tokens: 120 },
  input_tokens_details: { cached_tokens: 40, cache_write_tokens: 10 },
  output_tokens_details: { reasoning_tokens: 15 },
};
const counted = {
  ...{ inputTokens: 100, outputTokens: 20, cachedInputTokens: 40, cacheWriteTokens: 10, reasoningTokens: 15 },
  tier: 'flex',
};
const head = { id: 'resp_1', model: 'target', status: 'completed', service_tier: 'flex' };
const said = (text: string) => ({ type: 'message', content: [{ type: 'output_text', text }] });
const look = (id: string) => ({ type: 'function_call', id: 'fc_1', call_id: id, name: 'look', arguments: '{"at":1}' });
const output = [
  { ...item, summary: [{ text: 'Hm.' }] },
  said('I look.'),
  { ...item, id: 'rs_2' },
  look('a'),
  look('b'),
];

/** The events of a response whose items come whole. */
const streamOf = (items: JsonObject[], response: JsonObject, type = 'response.completed') => [
  { type: 'response.created', response: { ...head, status: 'in_progress', usage: null } },
  ...items.flatMap((each, output_index) => [
    { type: 'response.output_item.added', output_index, item: { ...each, arguments: '', encrypted_content: 'part' } },
    ...(each.type === 'message'
      ? [{ type: 'response.output_text.delta', output_index, content_index: 0, delta: 'I look.' }]
      : []),
    { type: 'response.output_item.done', output_index, item: each },
  ]),
  { type, response },
];
const parts = [
  { type: 'thinking', of: 'openai-responses', text: 'Hm.', id: 'rs_1', signature: 'sealed' },
  { type: 'text', text: 'I look.' },
  { type: 'thinking', of: 'openai-responses', text: '', id: 'rs_2', signature: 'sealed' },
  ...['a', 'b'].map((id) => ({ type: 'toolCall', id, name: 'look', args: '{"at":1}' })),
];
const expected = { id: 'resp_1', model: 'target', parts, stopReason: 'tool-calls', usage: counted };

test('a response is read with its thinking, calls and usage, whole and streamed alike', (t) => {
  const whole = { ...head, output, usage };
  t.deepEqual(openAiResponses.readAnswer(whole), expected as ReturnType<typeof openAiResponses.readAnswer>);
  t.like(collect(readAll(streamOf(output, whole))), expected);
});

test('thinking of a response comes back through an agent’s conversation and through a client of Anthropic’s', (t) => {
  const events = readAll(streamOf(output, { ...head, output, usage }));
  const writer = createAnswerWriter({ label: 'OpenAI', origin: { model: 'target' } });
  for (const event of events) writer.write(event);
  const { answer } = writer.completion();
  const back = readRequest(
    {
      ...{ system: '', tools: [], toolChoice: 'auto' },
      messages: [{ role: 'assistant', ...answer }],
    } as unknown as Parameters<typeof readRequest>[0],
    9,
  );
  const written = write(back).input as JsonObject[];
  t.deepEqual(
    written.map(({ type, role, id }) => [type ?? role, id]),
    [
      ['reasoning', 'rs_1'],
      ['assistant', undefined],
      ['reasoning', 'rs_2'],
      ['function_call', undefined],
      ['function_call', undefined],
    ],
  );
  const user = { role: 'user', content: 'Hi.' };
  const asked = anthropic.readRequest({
    ...{ model: 'm', max_tokens: 99, tools: [{ name: 'look', input_schema: { type: 'object' } }] },
    messages: [user],
  });
  const reply = { request: asked, model: 'target', createdS: 1 };
  const { content } = anthropic.writeAnswer(openAiResponses.readAnswer({ ...head, output, usage }), reply);
  const results = ['a', 'b'].map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'A wall.' }));
  const messages = [user, { role: 'assistant', content }, { role: 'user', content: results }];
  const again = write(anthropic.readRequest({ model: 'm', max_tokens: 99, messages })).input as JsonObject[];
  t.deepEqual(again.slice(1, -2), written);
});

const failures: [string, JsonObject[], PivotEvent | undefined][] = [
  [
    'cut by its limit',
    streamOf([look('a')], { ...head, status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } }),
    { type: 'stop', reason: 'length' },
  ],
  [
    'cut by a filter',
    streamOf([], { ...head, status: 'incomplete', incomplete_details: { reason: 'content_filter' } }),
    { type: 'stop', reason: 'refusal' },
  ],
  [
    'refused in words',
    [
      ...streamOf([], {}).slice(0, 1),
      { type: 'response.refusal.delta', output_index: 0, content_index: 0, delta: 'No.' },
      { type: 'response.completed', response: head },
    ],
    { type: 'stop', reason: 'refusal' },
  ],
];
for (const [how, events, last] of failures) {
  test(`a response that was ${how} says so`, (t) => {
    t.like(readAll(events).at(-1), last as object);
  });
}

for (const [how, event, code] of [
  [
    'failed',
    {
      type: 'response.failed',
      response: { ...head, status: 'failed', error: { code: 'rate_limit_exceeded', message: 'Slow.' } },
    },
    'limited',
  ],
  ['ended by an error', { type: 'error', code: 'server_error', message: 'Oh.', param: null }, 'unavailable'],
  ['ended by an error within', { type: 'error', error: { code: 'server_error', message: 'Oh.' } }, 'unavailable'],
  ['broken off', { type: 'response.in_progress', response: head }, 'upstream'],
  ['mixed up', { type: 'response.function_call_arguments.delta', output_index: 7, delta: '{' }, 'upstream'],
] as const) {
  test(`a response that is ${how} is an error`, (t) => {
    const last = readAll([...streamOf([], {}).slice(0, 1), event]).at(-1);
    t.is(last?.type === 'error' ? last.error.code : last?.type, code);
  });
}

test('a whole response that failed is a failure with its code', (t) => {
  const failed = { ...head, status: 'failed', output: [], error: { code: 'rate_limit_exceeded', message: 'Slow.' } };
  t.is(t.throws(() => openAiResponses.readAnswer(failed), { instanceOf: Failure })?.code, 'limited');
});
