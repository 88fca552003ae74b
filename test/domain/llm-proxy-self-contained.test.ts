import test from 'ava';
import type { CachedWire } from '../../services/llm-proxy/cache/key.ts';
import { isSelfContained } from '../../services/llm-proxy/cache/self-contained.ts';

type Body = Record<string, unknown>;

const said = [{ role: 'user', content: 'next' }];
const least: Record<CachedWire, Body> = {
  'openai-chat': { model: 'm', temperature: 0, messages: said },
  'openai-responses': { model: 'm', temperature: 0, input: 'next' },
  anthropic: { model: 'm', max_tokens: 9, temperature: 0, messages: said },
  embeddings: { model: 'm', input: ['a', 'b'] },
};

const turn = (...content: unknown[]) => ({ messages: [{ role: 'user', content }] });

const kept: [CachedWire, Body][] = [
  ['openai-chat', { tools: [{ type: 'function', function: { name: 'f' } }], store: false, conversation: null }],
  [
    'openai-chat',
    turn({ type: 'text', text: 'a' }, { type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } }),
  ],
  ['openai-chat', turn({ type: 'file', file: { file_data: 'data:application/pdf;base64,AA', filename: 'a.pdf' } })],
  ['openai-chat', { response_format: { type: 'json_object' }, seed: 1, stream: true, stream_options: {} }],
  ['openai-responses', { input: [...said, { type: 'function_call_output', call_id: 'c', output: 'x' }], store: false }],
  [
    'openai-responses',
    { input: [{ type: 'reasoning', id: 'r', summary: [], encrypted_content: 'x' }], background: false },
  ],
  ['openai-responses', { tools: [{ type: 'function', name: 'f', parameters: { type: 'object' } }], instructions: 'x' }],
  ['anthropic', { system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }] }],
  [
    'anthropic',
    {
      tools: [
        { name: 'f', input_schema: {} },
        { type: 'bash_20250124', name: 'bash' },
      ],
    },
  ],
  ['anthropic', turn({ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'x' }] })],
  ['anthropic', turn({ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'AA' } })],
  ['embeddings', { dimensions: 8, encoding_format: 'float' }],
];

const notKept: [CachedWire, Body][] = [
  ['openai-chat', { store: true }],
  ['openai-chat', { web_search_options: {} }],
  ['openai-chat', { modalities: ['text', 'audio'], audio: { voice: 'v', format: 'wav' } }],
  ['openai-chat', { a_field_of_tomorrow: 1 }],
  ['openai-chat', turn({ type: 'file', file: { file_id: 'file_1' } })],
  ['openai-chat', { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }],
  ['openai-chat', { tools: [{ type: 'web_search' }] }],
  ['openai-responses', { conversation: 'conv_9' }],
  ['openai-responses', { previous_response_id: 'resp_1' }],
  ['openai-responses', { background: true }],
  ['openai-responses', { store: true }],
  ['openai-responses', { prompt: { id: 'pmpt_1' } }],
  ['openai-responses', { context_management: [{ type: 'compaction' }] }],
  ['openai-responses', { input: [{ type: 'item_reference', id: 'msg_1' }] }],
  ['openai-responses', { input: [{ type: 'mcp_approval_response', approval_request_id: 'a', approve: true }] }],
  ['openai-responses', { input: [{ role: 'user', content: [{ type: 'input_file', file_id: 'file_1' }] }] }],
  ...['web_search', 'file_search', 'code_interpreter', 'mcp', 'image_generation', 'shell', 'computer_use_preview'].map(
    (type): [CachedWire, Body] => ['openai-responses', { tools: [{ type }] }],
  ),
  ['anthropic', { container: 'container_1' }],
  ['anthropic', { mcp_servers: [{ type: 'url', url: 'https://x', name: 'x' }] }],
  ['anthropic', { thread: { type: 'create' } }],
  ['anthropic', { tools: [{ type: 'web_search_20250305', name: 'web_search' }] }],
  ['anthropic', { tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] }],
  ['anthropic', turn({ type: 'document', source: { type: 'file', file_id: 'file_1' } })],
  ['anthropic', turn({ type: 'container_upload', file_id: 'file_1' })],
  [
    'anthropic',
    turn({ type: 'tool_result', tool_use_id: 't', content: [{ type: 'image', source: { type: 'file' } }] }),
  ],
];

test('a request that brings all with it may be answered from the cache', (t) => {
  for (const [wire, body] of Object.entries(least)) t.true(isSelfContained(wire as CachedWire, body), wire);
  for (const [wire, more] of kept) t.true(isSelfContained(wire, { ...least[wire], ...more }), JSON.stringify(more));
});

test('one whose state or effect lies at the provider never is, nor one with anything that is not known', (t) => {
  for (const [wire, more] of notKept) t.false(isSelfContained(wire, { ...least[wire], ...more }), JSON.stringify(more));
});
