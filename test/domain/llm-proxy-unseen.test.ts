import test from 'ava';
import { unseenTokens } from '../../services/llm-proxy/clients/http/unseen-tokens.ts';
import { fileTokens, imageTokens } from '../../services/llm-proxy/tokens.ts';

const said = (...content: object[]) => ({ messages: [{ role: 'user', content }] });
const away = 'https://example.com/a';
const here = 'data:image/png;base64,AAAA';
const source = (more: object) => said({ type: 'image', source: more });

for (const [what, body, tokens] of [
  ["a picture's URL on OpenAI's chat", said({ type: 'image_url', image_url: { url: away } }), imageTokens],
  ["a picture's URL on Anthropic's wire", source({ type: 'url', url: away }), imageTokens],
  [
    "a picture's URL in a response's input",
    { input: said({ type: 'input_image', image_url: away }).messages },
    imageTokens,
  ],
  ['a file by URL', { input: said({ type: 'input_file', file_url: away }).messages }, fileTokens],
  [
    "a file in a tool's output",
    { input: [{ type: 'function_call_output', output: [{ type: 'input_file', file_url: away }] }] },
    fileTokens,
  ],
  [
    "a picture in a tool's result",
    said({ type: 'tool_result', content: source({ url: away }).messages[0]?.content }),
    imageTokens,
  ],
  [
    'two of them',
    said({ type: 'image_url', image_url: { url: away } }, { type: 'input_file', file_url: away }),
    imageTokens + fileTokens,
  ],
  [
    'what is in the request itself',
    said({ type: 'image_url', image_url: { url: here } }, { type: 'text', text: away }),
    0,
  ],
  ['nothing', { messages: [{ role: 'user', content: 'Hi' }], input: 5, system: null }, 0],
  ['what no wire has', { messages: [null, 5, [{ content: { url: 5 } }]] }, 0],
] as const)
  test(`before a call it is counted: ${what}`, (t) => {
    t.is(unseenTokens(body), tokens);
  });

test('a request that is nested without end is left at some depth', (t) => {
  let deep: object = { type: 'input_file', file_url: away };
  for (let depth = 0; depth < 100_000; depth++) deep = { content: deep };
  t.is(unseenTokens({ messages: [deep] }), 0);
});
