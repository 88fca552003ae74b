import test from 'ava';
import { checkSpelling } from '../../services/llm-proxy/clients/http/known-names.ts';
import { checkStateless } from '../../services/llm-proxy/clients/http/stateless.ts';

const said = (...content: object[]) => ({ messages: [{ role: 'user', content }] });
const items = (...input: object[]) => ({ input });
const tools = (...each: object[]) => ({ tools: each });

for (const [what, body, field] of [
  ['an earlier response', { previous_response_id: 'resp_1' }, 'previous_response_id'],
  ['the same in other letters', { Previous_Response_ID: 'resp_1' }, 'Previous_Response_ID'],
  ['a conversation', { conversation: 'conv_1' }, 'conversation'],
  ['a conversation by its object', { conversation: { id: 'conv_1' } }, 'conversation'],
  ['a kept prompt', { prompt: { id: 'pmpt_1', variables: {} } }, 'prompt'],
  ['an answer to fetch later', { background: true }, 'background'],
  ['an item by its type', items({ type: 'item_reference', id: 'msg_1' }), 'input.0'],
  ['an item by its id alone', items({ id: 'msg_1' }), 'input.0'],
  ['an item by its id and nothing', items({ id: 'msg_1', type: null }), 'input.0'],
  ['thoughts by their id', items({ type: 'reasoning', id: 'rs_1', summary: [] }), 'input.0'],
  ['a picture that was made', items({ type: 'image_generation_call', id: 'ig_1' }), 'input.0'],
  ['a file in a message', said({ type: 'file', file: { file_id: 'f' } }), 'messages.0.content.0.file.file_id'],
  [
    'a picture in a response',
    items({ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }),
    'input.0.content.0.file_id',
  ],
  [
    'a file in a result',
    items({ type: 'function_call_output', call_id: 'c', output: [{ type: 'input_file', file_id: 'f' }] }),
    'input.0.output.0.file_id',
  ],
  [
    'a file of Anthropic',
    said({ type: 'document', source: { type: 'file', file_id: 'f' } }),
    'messages.0.content.0.source.file_id',
  ],
  ['an upload of Anthropic', said({ type: 'container_upload', file_id: 'f' }), 'messages.0.content.0.file_id'],
  ['an earlier sound', { messages: [{ role: 'assistant', audio: { id: 'audio_1' } }] }, 'messages.0.audio'],
  ['a vector store', tools({ type: 'file_search', vector_store_ids: ['vs_1'] }), 'tools.0.vector_store_ids'],
  [
    'files in a container',
    tools({ type: 'code_interpreter', container: { type: 'auto', file_ids: ['f'] } }),
    'tools.0.container.file_ids',
  ],
  ['a container by its name', tools({ type: 'code_interpreter', container: 'cntr_1' }), 'tools.0.container'],
  ['a container of Anthropic', { container: 'container_1' }, 'container'],
  ['skills in a container', { container: { skills: [{ type: 'custom', skill_id: 's' }] } }, 'container.skills'],
  [
    'a shell elsewhere',
    tools({ type: 'shell', environment: { type: 'container_reference', container_id: 'c' } }),
    'tools.0.environment.container_id',
  ],
  [
    'a mask of a picture',
    tools({ type: 'image_generation', input_image_mask: { file_id: 'f' } }),
    'tools.0.input_image_mask.file_id',
  ],
  ['a cache', { extra_body: { google: { cached_content: 'cachedContents/1' } } }, 'extra_body.google.cached_content'],
  [
    'what is in a store',
    said({ type: 'image_url', image_url: { url: 'gs://bucket/a.png' } }),
    'messages.0.content.0.image_url.url',
  ],
  ['what nobody knows yet', { notebook_id: 'n' }, 'notebook_id'],
] as const)
  test(`what a provider keeps is refused by its field: ${what}`, (t) => {
    const failure = t.throws(() => checkStateless(body), { code: 'invalid', message: /port 4000 is stateless/ });
    t.true(failure?.message.startsWith(`${field}: `), failure?.message);
    t.like(failure, { problems: [{ field }] });
  });

for (const [what, body] of [
  ['nothing', { previous_response_id: null, conversation: null, background: false, prompt: null }],
  [
    'calls and their results',
    {
      messages: [
        { role: 'assistant', tool_calls: [{ id: 'call_1', function: { name: 'f' } }] },
        { role: 'tool', tool_call_id: 'call_1', content: 'x' },
      ],
    },
  ],
  [
    'items with all that they say',
    items(
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'x', annotations: [{ file_id: 'f' }] }],
      },
      { type: 'function_call', id: 'fc_1', call_id: 'c', name: 'f', arguments: '{}' },
    ),
  ],
  [
    'thoughts that are sealed',
    items({ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'x' }, { type: 'reasoning', summary: [] }),
  ],
  [
    'tools whose arguments have such names',
    tools(
      { name: 'read', input_schema: { properties: { file_id: { type: 'string' } } } },
      { type: 'function', function: { name: 'f', parameters: { properties: { container: {} } } } },
    ),
  ],
  [
    'calls of such tools',
    {
      messages: [
        {
          role: 'assistant',
          content: [{ type: 'tool_use', id: 'toolu_1', name: 'read', input: { file_id: 'f', prompt: { id: 1 } } }],
        },
      ],
    },
  ],
  ['a new container', tools({ type: 'code_interpreter', container: { type: 'auto' } })],
  ['empty lists', tools({ type: 'code_interpreter', container: { type: 'auto', file_ids: [] } })],
  [
    'pictures on the web and within',
    said(
      { type: 'image_url', image_url: { url: 'https://example.com/a' } },
      { type: 'image_url', image_url: { url: 'DATA:image/png;base64,AA' } },
    ),
  ],
  [
    'who asks',
    {
      metadata: { user_id: 'u', file_id: 'f' },
      user: 'u',
      response_format: { type: 'json_schema', json_schema: { schema: { properties: { thread_id: {} } } } },
    },
  ],
] as const)
  test(`what a request brings itself passes: ${what}`, (t) => {
    t.notThrows(() => checkStateless(body));
  });

test('a name that some providers read without regard to its letters has to be spelled as it is', (t) => {
  const known = new Set(['max_tokens', 'model']);
  for (const name of ['Max_Tokens', 'MODEL', 'max_to\u212aens', 'max_token\u017f'])
    t.throws(() => checkSpelling({ [name]: 1 }, known), {
      code: 'invalid',
      message: /is to be written (max_tokens|model)$/,
    });
  t.notThrows(() => checkSpelling({ model: 'a', max_tokens: 1, Other: 2 }, known));
});
