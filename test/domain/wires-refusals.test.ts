import test from 'ava';
import { Failure } from '#shared/errors.ts';
import { toChatRequest } from '../../services/llm-proxy/wires/contract/wire.ts';
import { leftOut } from '../../services/llm-proxy/wires/left-out.ts';
import type { JsonObject } from '../../services/llm-proxy/wires/pivot.ts';
import { anthropic, openAiChat, openAiResponses } from '../../services/llm-proxy/wires/wires.ts';

const options = { model: 'target', maxTokensDefault: 100 };
const clients = { 'openai-chat': openAiChat, 'openai-responses': openAiResponses, anthropic };
const asks = [{ role: 'user', content: 'Hi.' }];
const bases: Record<keyof typeof clients, JsonObject> = {
  'openai-chat': { model: 'm', messages: asks },
  'openai-responses': { model: 'm', input: 'Hi.' },
  anthropic: { model: 'm', max_tokens: 10, messages: asks },
};
const user = (content: unknown) => ({ messages: [...asks, { role: 'user', content }] });
const said = (message: JsonObject) => ({
  messages: [...asks, { role: 'assistant', content: 'Yes.', ...message }, ...asks],
});
const chatTool = { type: 'function', function: { name: 'go' } };

// The wire of the client, what is in its body, and the field that is named. Refused on reading, whatever the model.
const unread: [keyof typeof clients, JsonObject, string][] = [
  ['openai-chat', { n: 2 }, 'n'],
  ['openai-chat', { logprobs: true }, 'logprobs'],
  ['openai-chat', { top_logprobs: 3 }, 'top_logprobs'],
  ['openai-chat', { store: true }, 'store'],
  ['openai-chat', { audio: { voice: 'alloy', format: 'wav' } }, 'audio'],
  ['openai-chat', { modalities: ['text', 'audio'] }, 'modalities'],
  ['openai-chat', { logit_bias: { '50256': -100 } }, 'logit_bias'],
  ['openai-chat', { frequency_penalty: 0.5 }, 'frequency_penalty'],
  ['openai-chat', { seed: 7 }, 'seed'],
  ['openai-chat', { web_search_options: {} }, 'web_search_options'],
  ['openai-chat', { newer_than_us: 1 }, 'newer_than_us'],
  ['openai-chat', { temperature: 'warm' }, 'temperature'],
  ['openai-chat', { functions: [{ name: 'go' }] }, 'functions'],
  ['openai-chat', { tools: [{ type: 'other', other: { name: 'go' } }] }, 'tools.0'],
  ['openai-chat', { tools: [chatTool], tool_choice: { type: 'allowed_tools', allowed_tools: {} } }, 'tool_choice'],
  ['openai-chat', { tool_choice: 'required' }, 'tool_choice'],
  ['openai-chat', { messages: [] }, 'messages'],
  ['openai-chat', { messages: [{ role: 'system', content: 'Only me.' }] }, 'messages'],
  [
    'openai-chat',
    user([
      { type: 'text', text: 'a' },
      { type: 'input_audio', input_audio: {} },
    ]),
    'messages.1.content.1',
  ],
  ['openai-chat', user([{ type: 'file', file: { file_id: 'f' } }]), 'messages.1.content.0'],
  [
    'openai-chat',
    user([{ type: 'image_url', image_url: { url: 'file:///etc/passwd' } }]),
    'messages.1.content.0.image_url.url',
  ],
  [
    'openai-chat',
    user([{ type: 'image_url', image_url: { url: 'data:image/bmp;base64,AA' } }]),
    'messages.1.content.0.image_url.url',
  ],
  ['openai-chat', said({ audio: { id: 'a' } }), 'messages.1.audio'],
  ['openai-chat', said({ function_call: { name: 'go', arguments: '' } }), 'messages.1.function_call'],
  ['openai-chat', said({ tool_calls: [{ id: 'c', type: 'other', other: {} }] }), 'messages.1.tool_calls.0'],
  [
    'openai-chat',
    said({ tool_calls: [{ id: 'c', type: 'function', function: { name: 'go', arguments: '[1]' } }] }),
    'messages.1.tool_calls.0.function.arguments',
  ],
  ['openai-responses', { previous_response_id: 'resp_1' }, 'previous_response_id'],
  ['openai-responses', { conversation: 'conv_1' }, 'conversation'],
  ['openai-responses', { prompt: { id: 'p' } }, 'prompt'],
  ['openai-responses', { background: true }, 'background'],
  ['openai-responses', { truncation: 'auto' }, 'truncation'],
  ['openai-responses', { include: ['message.output_text.logprobs'] }, 'include'],
  ['openai-responses', { tools: [{ type: 'code_interpreter', container: { type: 'auto' } }] }, 'tools.0'],
  ['openai-responses', { tools: [{ type: 'mcp', server_label: 's' }] }, 'tools.0'],
  ['openai-responses', { input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input.0'],
  ['openai-responses', { input: [{ type: 'computer_call', id: 'cu_1', status: 'completed' }] }, 'input.0'],
  [
    'openai-responses',
    { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'f' }] }] },
    'input.0.content.0',
  ],
  ['openai-responses', { input: [{ type: 'reasoning', id: 'rs', summary: [] }] }, 'input'],
  ['openai-responses', { reasoning: { mode: 'pro' } }, 'reasoning.mode'],
  ['anthropic', { thinking: { type: 'enabled' } }, 'thinking.budget_tokens'],
  ['anthropic', { thinking: { type: 'newer_than_us' } }, 'thinking'],
  ['anthropic', { compaction: { type: 'summarize' } }, 'compaction'],
  ['anthropic', { thread: { type: 'create' } }, 'thread'],
  ['anthropic', { container: { id: 'c' } }, 'container'],
  ['anthropic', { mcp_servers: [{}] }, 'mcp_servers'],
  ['anthropic', { max_tokens: undefined }, 'max_tokens'],
  ['anthropic', { tools: [{ type: 'code_execution_20260521', name: 'code_execution' }] }, 'tools.0.type'],
  ['anthropic', { tools: [{ name: 'a', input_schema: {}, allowed_callers: ['x'] }] }, 'tools.0.allowed_callers'],
  [
    'anthropic',
    {
      tools: [
        { type: 'web_search_20260318', name: 'web_search' },
        { name: 'a', input_schema: { type: 'object' } },
      ],
      tool_choice: { type: 'tool', name: 'web_search' },
    },
    'tool_choice.name',
  ],
  ['anthropic', { tools: [{ type: 'bash_20250124', name: 'bash' }] }, 'tools.0.type'],
  ['anthropic', user([{ type: 'document', source: {} }]), 'messages.1.content.0.source'],
  [
    'anthropic',
    user([{ type: 'document', source: { type: 'url', url: 'https://example.org/a.pdf' } }]),
    'messages.1.content.0.source.url',
  ],
  [
    'anthropic',
    user([
      { type: 'text', text: 'a' },
      { type: 'container_upload', file_id: 'f' },
    ]),
    'messages.1.content.1',
  ],
  ['anthropic', user([{ type: 'image', source: { type: 'file', file_id: 'f' } }]), 'messages.1.content.0.source'],
  [
    'anthropic',
    user([{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'browser_state' }] }]),
    'messages.1.content.0.content.0',
  ],
  [
    'anthropic',
    said({ content: [{ type: 'server_tool_use', id: 's', name: 'web_search', input: {} }] }),
    'messages.1.content.0',
  ],
  ['anthropic', { messages: [...asks, { role: 'assistant', content: '{' }] }, 'messages.1'],
];

for (const [wire, fields, field] of unread) {
  test(`${wire}: ${JSON.stringify(fields).slice(-110)} is refused by the name of ${field}`, (t) => {
    t.notThrows(() => clients[wire].readRequest(bases[wire]));
    const error = t.throws(() => clients[wire].readRequest({ ...bases[wire], ...fields }), { instanceOf: Failure });
    t.is(error?.code, 'invalid');
    t.true(
      error?.problems?.some((problem) => problem.field === field),
      JSON.stringify(error?.problems),
    );
    t.true(error?.message.includes(field));
  });
}

const schemas = { type: 'json_object' };
// What one provider's wire cannot carry and the other's can.
const unwritten: ['anthropic' | 'openai-chat' | 'typed', keyof typeof clients, JsonObject, string][] = [
  ['anthropic', 'openai-chat', { response_format: schemas }, 'response_format.type'],
  ['anthropic', 'openai-responses', { text: { format: schemas } }, 'text.format.type'],
  ['anthropic', 'openai-chat', { temperature: 1.5 }, 'temperature'],
  ['anthropic', 'openai-chat', { stop: '\n' }, 'stop'],
  ['anthropic', 'openai-chat', { messages: [{ role: 'assistant', content: 'I begin.' }, ...asks] }, 'messages.0'],
  ['anthropic', 'openai-chat', { messages: [...asks, { role: 'assistant', content: 'I end.' }] }, 'messages'],
  ['anthropic', 'openai-responses', { input: ' ' }, 'input'],
  ['openai-chat', 'anthropic', { top_k: 5 }, 'top_k'],
  ['openai-chat', 'anthropic', { stop_sequences: ['1', '2', '3', '4', '5'] }, 'stop_sequences'],
  ['openai-chat', 'anthropic', { tools: [{ name: 'x'.repeat(65), input_schema: { type: 'object' } }] }, 'tools.0.name'],
  ['typed', 'openai-chat', { stop: 'x' }, 'stop'],
  ['typed', 'openai-chat', { response_format: schemas }, 'response_format.type'],
  ['typed', 'openai-chat', user([{ type: 'image_url', image_url: { url: 'https://example.org/a.png' } }]), 'messages'],
  [
    'typed',
    'openai-chat',
    { tools: [chatTool, { type: 'function', function: { name: 'b' } }], tool_choice: 'required' },
    'tool_choice',
  ],
];

for (const [upstream, wire, fields, field] of unwritten) {
  test(`${wire} to ${upstream}: ${JSON.stringify(fields).slice(-90)} is refused by the name of ${field}`, (t) => {
    const write = {
      anthropic: (request: Parameters<typeof toChatRequest>[0]) => anthropic.writeRequest(request, options),
      'openai-chat': (request: Parameters<typeof toChatRequest>[0]) => openAiChat.writeRequest(request, options),
      typed: toChatRequest,
    }[upstream];
    t.notThrows(() => write(clients[wire].readRequest(bases[wire])));
    const request = clients[wire].readRequest({ ...bases[wire], ...fields });
    const error = t.throws(() => write(request), { instanceOf: Failure });
    t.is(error?.code, 'invalid');
    t.deepEqual(
      error?.problems?.map((problem) => problem.field),
      [field],
    );
  });
}

test('every problem is named at once, and a hostile body gets a bounded answer', (t) => {
  const body = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`x${index}`, 1]));
  const error = t.throws(() => openAiChat.readRequest({ ...bases['openai-chat'], n: 3, ...body }), {
    instanceOf: Failure,
  });
  t.is(error?.problems?.length, 20);
  t.deepEqual(
    error?.problems?.slice(0, 2).map(({ field }) => field),
    ['n', 'x0'],
  );
});

test('names of JavaScript itself are unknown fields like any', (t) => {
  const body: JsonObject = JSON.parse(
    '{"model":"m","messages":[{"role":"user","content":"Hi."}],"constructor":1,"__proto__":{"n":2}}',
  );
  const error = t.throws(() => openAiChat.readRequest(body), { instanceOf: Failure });
  t.true(error?.problems?.some(({ field }) => field === 'constructor'));
});

test('what the table lists is left out, and neutral values are as good as none', (t) => {
  for (const [name, wire] of Object.entries(clients)) {
    const { request, neutral } = leftOut[wire.name];
    const base = bases[wire.name];
    const hints = Object.fromEntries(Object.keys(request).map((field) => [field, { any: 'thing' }]));
    const neutrals = Object.fromEntries(Object.entries(neutral).map(([field, [value]]) => [field, value]));
    const read = wire.readRequest({ ...base, ...hints, ...neutrals, instructions: null, top_p: null });
    t.deepEqual(read, wire.readRequest(base), name);
  }
});
