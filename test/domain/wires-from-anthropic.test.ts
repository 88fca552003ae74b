import test from 'ava';
import { openTraits } from '../../services/llm-proxy/models/schema.ts';
import { writeAnthropicError } from '../../services/llm-proxy/wires/errors.ts';
import { fitToModel } from '../../services/llm-proxy/wires/fit-to-model.ts';
import type { JsonObject, ModelTraits } from '../../services/llm-proxy/wires/pivot.ts';
import { anthropic, openAiChat } from '../../services/llm-proxy/wires/wires.ts';

type Traits = ModelTraits & { temperature?: boolean };
const ask = { role: 'user', content: 'Hi.' };
const base = { model: 'm', max_tokens: 4_096, messages: [ask] };
const tool = (name: string, rest: JsonObject = {}) => ({ name, input_schema: { type: 'object' }, ...rest });

/** What OpenAI gets of a request of Anthropic's client. */
function sent(fields: JsonObject, traits: Traits = {}) {
  const all = { ...openTraits, ...traits };
  const fitted = fitToModel(anthropic.readRequest({ ...base, ...fields }), all);
  return openAiChat.writeRequest(fitted, { model: 'target', maxTokensDefault: 100, traits: all });
}
const bare = sent({});
const messagesOf = (fields: JsonObject, traits?: Traits) => sent(fields, traits).messages as JsonObject[];
const toolsOf = (fields: JsonObject) =>
  ((sent(fields).tools ?? []) as { function: { name: string } }[]).map((each) => each.function.name);
const effortOf = (fields: JsonObject, traits?: Traits) => sent(fields, traits).reasoning_effort;

test('what only one provider does with a request is left out', (t) => {
  for (const fields of [
    { context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] } },
    { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } },
    { output_config: { task_budget: { type: 'tokens', total: 9_000 } } },
    { fallbacks: [{ model: 'claude-sonnet-5-5' }], mcp_servers: [], billing_policy: { type: 'billing_policy' } },
    { thinking: { type: 'adaptive', display: 'omitted', block_binding: {} } },
    { system: [{ type: 'text', text: 'x-anthropic-billing-header: cc_version=2.1.328.abc; cch=1;' }] },
  ])
    t.deepEqual(sent(fields), bare, JSON.stringify(fields));
});

test('a budget of thinking becomes the effort that is nearest to its share, where the model knows any', (t) => {
  const thinking = (budget_tokens: number, max_tokens = 4_096) => ({
    max_tokens,
    thinking: { type: 'enabled', budget_tokens },
  });
  t.is(effortOf(thinking(1_024)), 'low');
  t.is(effortOf(thinking(2_048)), 'medium');
  t.is(effortOf(thinking(4_000)), 'high');
  t.is(effortOf(thinking(10_000, 128_000)), 'low');
  t.is(effortOf(thinking(2_048), { efforts: [] }), undefined);
  t.is(effortOf({ ...thinking(4_000), output_config: { effort: 'low' } }), 'low', 'an effort says it better');
});

test('an effort is the nearest that the model knows, and an order not to think goes to nobody who cannot take it', (t) => {
  const none = { thinking: { type: 'disabled' } };
  t.is(effortOf(none), undefined, 'a model of which nothing is known');
  t.is(effortOf(none, { efforts: [] }), undefined);
  t.is(effortOf(none, { efforts: ['none', 'low', 'high'] }), 'none');
  t.is(effortOf(none, { efforts: ['minimal', 'low', 'medium', 'high'] }), 'minimal');
  t.is(effortOf({ thinking: { type: 'between_tools' } }, { efforts: ['none', 'low'] }), 'none');
  t.is(effortOf({ ...none, output_config: { effort: 'high' } }, { efforts: ['none', 'high'] }), 'none');
  const max = { output_config: { effort: 'max' } };
  t.is(effortOf(max), 'max');
  t.is(effortOf(max, { efforts: ['low', 'medium', 'high'] }), 'high');
  t.is(effortOf(max, { efforts: [] }), undefined);
});

test('with tools the effort that a model needs for them goes before the one asked for', (t) => {
  const high = { output_config: { effort: 'high' } };
  const traits = { tools_reasoning_effort: 'none' as const };
  t.is(effortOf({ ...high, tools: [tool('a')] }, traits), 'none');
  t.is(effortOf({ ...high, tools: [tool('a')] }, { ...traits, efforts: ['none', 'high'] }), 'none');
  t.is(effortOf(high, traits), 'high', 'without tools it is as asked');
});

test('no sampling parameter goes to a model that takes none', (t) => {
  const fields = { temperature: 1, top_p: 0.9, top_k: 5 };
  t.deepEqual(sent(fields, { temperature: false }), bare);
});

test("effort in the middle of a conversation holds from the user's next words on, and what a tool says is none of them", (t) => {
  const level = (effort: string) => ({ role: 'system', content: [], output_config: { effort } });
  const says = { role: 'assistant', content: 'Yes.' };
  const called = [
    { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'go', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content: 'x' }] },
  ];
  const top = { output_config: { effort: 'max' } };
  const at = (...messages: unknown[]) => effortOf({ ...top, messages });
  t.is(at(ask, level('low')), 'low');
  t.is(at(ask, says, level('low'), ask), 'low');
  t.is(at(ask, level('low'), says, ask, level('high')), 'high');
  t.is(at(ask, level('low'), ...called), 'low', 'it stays');
  t.is(at(ask, ...called, level('low')), 'max', 'it waits');
  t.is(at(ask, ...called, level('low'), says, ask), 'low');
  t.deepEqual(messagesOf({ messages: [ask, level('low')] }), [ask], 'there is nothing said');
});

test('a system message in the middle stays there, and one that is to pass is gone once the user speaks', (t) => {
  const note = (clear_at?: string) => ({ role: 'system', content: 'Note.', clear_at });
  const says = { role: 'assistant', content: 'Yes.' };
  const said = { role: 'system', content: 'Note.' };
  t.deepEqual(messagesOf({ messages: [ask, note(), says, ask] }), [ask, said, says, ask]);
  t.deepEqual(messagesOf({ messages: [ask, note('never'), says, ask] }), [ask, said, says, ask]);
  t.deepEqual(messagesOf({ messages: [ask, note('next_user_message')] }), [ask, said]);
  t.deepEqual(messagesOf({ messages: [ask, note('next_user_message'), says, ask] }), [ask, says, ask]);
});

test("a server whose template takes no system message in the middle gets it among the user's words", (t) => {
  const note = { role: 'system', content: 'Note.' };
  const says = { role: 'assistant', content: 'Yes.' };
  const messages = [ask, note, says, note, ask];
  const both = (...texts: string[]) => ({ role: 'user', content: texts.map((text) => ({ type: 'text', text })) });
  t.deepEqual(messagesOf({ system: 'Be short.', messages }, { system_messages: false }), [
    { role: 'system', content: 'Be short.' },
    both('Hi.', 'Note.'),
    says,
    both('Note.', 'Hi.'),
  ]);
});

test('a deferred tool is shown once something names it', (t) => {
  const tools = [tool('search'), tool('late', { defer_loading: true }), tool('never', { defer_loading: true })];
  const found = (content: unknown[]) => [
    ask,
    { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'search', input: {} }] },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'a', content }] },
  ];
  const reference = { type: 'tool_reference', tool_name: 'late' };
  t.deepEqual(toolsOf({ tools }), ['search']);
  t.deepEqual(toolsOf({ tools, messages: found([reference]) }), ['search', 'late']);
  t.deepEqual(toolsOf({ tools, tool_choice: { type: 'tool', name: 'late' } }), ['search', 'late']);
  t.like(messagesOf({ tools, messages: found([reference]) }).at(-1), {
    role: 'tool',
    content: 'The tool late is loaded: it can be called now.',
  });
  const called = { role: 'assistant', content: [{ type: 'tool_use', id: 'b', name: 'late', input: {} }] };
  const result = { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'b' }] };
  t.deepEqual(toolsOf({ tools, messages: [ask, called, result] }), ['search', 'late']);
  const hosted = { type: 'tool_search_tool_regex_20251119', name: 'tool_search_tool_regex' };
  t.deepEqual(toolsOf({ tools: [hosted, ...tools] }), ['search', 'late', 'never'], 'nothing else would find them');
});

test('tools come and go with the system messages of a conversation', (t) => {
  const tools = [tool('a'), tool('late', { defer_loading: true })];
  const change = (type: string, changed: JsonObject) => ({ role: 'system', content: [{ type, tool: changed }] });
  const named = (name: string) => ({ type: 'tool_reference', name });
  const after = (...changes: unknown[]) => toolsOf({ tools, messages: [ask, ...changes] });
  t.deepEqual(after(change('tool_addition', named('late'))), ['a', 'late']);
  t.deepEqual(after(change('tool_removal', named('a'))), []);
  t.deepEqual(after(change('tool_removal', named('a')), change('tool_addition', named('a'))), ['a']);
  const definition = { type: 'tool_definition', definition: tool('new') };
  t.deepEqual(after(change('tool_addition', definition)), ['a', 'new']);
});

test('a search that nobody runs here is left out, and the model is told of it', (t) => {
  const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 8 };
  const body = sent({ tools: [search] });
  t.false('tools' in body);
  t.regex(JSON.stringify(body.messages), /The tool web_search is not there/);
  t.deepEqual(toolsOf({ tools: [search, tool('a')] }), ['a']);
});

test('examples of arguments go into the description', (t) => {
  const { tools } = sent({ tools: [tool('a', { description: 'Does a.', input_examples: [{ at: 1 }, {}] })] });
  const description = 'Does a.\nExamples of its arguments:\n{"at":1}\n{}';
  t.like((tools as JsonObject[])[0], { function: { description } });
});

const pdf = {
  type: 'document',
  source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERg==' },
  title: 'a.pdf',
};
const file = { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBERg==' } };

test('documents are read: texts as texts, a PDF as a file, also out of a result', (t) => {
  const text = { type: 'document', source: { type: 'text', media_type: 'text/plain', data: 'Words.' }, title: 'T' };
  const blocks = { type: 'document', source: { type: 'content', content: [{ type: 'text', text: 'Block.' }] } };
  const found = { type: 'search_result', source: 's', title: 'Found', content: [{ type: 'text', text: 'It.' }] };
  const [user] = messagesOf({ messages: [{ role: 'user', content: [text, blocks, found, pdf] }] });
  t.deepEqual(user?.content, [
    ...['T\n', 'Words.', 'Block.', 'Found (s)\n', 'It.', 'a.pdf\n'].map((each) => ({ type: 'text', text: each })),
    file,
  ]);
  const result = { type: 'tool_result', tool_use_id: 'a', content: [{ type: 'text', text: 'Read.' }, pdf] };
  const call = { role: 'assistant', content: [{ type: 'tool_use', id: 'a', name: 'read', input: {} }] };
  const messages = messagesOf({ messages: [ask, call, { role: 'user', content: [result] }] });
  t.deepEqual(messages.at(-1), {
    role: 'user',
    content: [{ type: 'text', text: 'From the result of the tool call a:' }, file],
  });
});

test('a PDF is refused with words where the model takes none', (t) => {
  const messages = [{ role: 'user', content: [pdf] }];
  t.throws(() => sent({ messages }, { pdf: false }), {
    message: /messages: have a PDF, which this model does not take/,
  });
});

test('an answer of the history keeps its text without its sources', (t) => {
  const citations = [{ type: 'web_search_result_location', url: 'https://example.org', cited_text: 'x' }];
  const said = { role: 'assistant', content: [{ type: 'text', text: 'So it is.', citations }] };
  t.deepEqual(messagesOf({ messages: [ask, said, ask] })[1], { role: 'assistant', content: 'So it is.' });
});

test('a schema is held to the letter only where OpenAI can', (t) => {
  const strictOf = (schema: JsonObject) => {
    const { response_format } = sent({ output_config: { format: { type: 'json_schema', schema } } });
    return (response_format as { json_schema: { strict: boolean } }).json_schema.strict;
  };
  const closed = (properties: JsonObject, required = Object.keys(properties)) => ({
    type: 'object',
    properties,
    required,
    additionalProperties: false,
  });
  const a = { type: 'string' };
  t.true(strictOf(closed({ a, b: { type: ['string', 'null'] } })));
  t.true(strictOf({ ...closed({ a: { $ref: '#/$defs/b' } }), $defs: { b: closed({ a }) } }));
  t.true(strictOf(closed({ a: { type: 'array', items: { anyOf: [a, { type: 'number', minimum: 1 }] } } })));
  for (const schema of [
    closed({ a, b: a }, ['a']),
    { ...closed({ a }), additionalProperties: true },
    { type: 'object', properties: { a }, required: ['a'] },
    closed({ a: { type: 'object', properties: {} } }),
    closed({ a: { type: 'array', items: closed({ a }, []) } }),
    closed({ a: { allOf: [a] } }),
    closed({ a: { type: 'string', format: 'uri' } }),
    closed({ a: {} }),
    { anyOf: [closed({ a })] },
  ])
    t.false(strictOf(schema), JSON.stringify(schema));
  const { tools } = sent({
    tools: [tool('a', { strict: true }), { name: 'b', strict: true, input_schema: closed({}) }],
  });
  t.like(tools, [{ function: { strict: false } }, { function: { strict: true } }]);
});

test('ids that are too long for OpenAI become shorter ones, each its own, in every turn the same', (t) => {
  const long = ['a', 'b'].map((end) => `toolu_${'x'.repeat(63)}${end}`);
  const messages = [
    ask,
    { role: 'assistant', content: long.map((id) => ({ type: 'tool_use', id, name: 'go', input: {} })) },
    { role: 'user', content: long.map((id) => ({ type: 'tool_result', tool_use_id: id, content: 'x' })) },
  ];
  const [, said, ...results] = messagesOf({ messages });
  const ids = ((said?.tool_calls ?? []) as { id: string }[]).map(({ id }) => id);
  t.is(new Set(ids).size, 2);
  t.true(ids.every((id) => id.length <= 40));
  t.deepEqual(
    results.map(({ tool_call_id }) => tool_call_id),
    ids,
  );
  const later = messagesOf({ messages: [...messages, { role: 'assistant', content: 'Done.' }, ask] });
  t.deepEqual(later.slice(0, 4), [ask, said, ...results]);
});

test("a thread is refused in the form after which Anthropic's client goes on without one", (t) => {
  const problems = [{ field: 'thread' }];
  t.like(writeAnthropicError({ status: 400, code: 'invalid', message: 'no', problems }), {
    error: { details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] } },
  });
  t.deepEqual(writeAnthropicError({ status: 400, code: 'invalid', message: 'no', problems: [{ field: 'n' }] }), {
    type: 'error',
    error: { type: 'invalid_request_error', message: 'no' },
  });
});
