#!/usr/bin/env bash
# What surprised: client.responses.stream(…).finalResponse() of openai resolves where the stream has ended before response.completed, with the text
# so far and the status in_progress. The same library's chat.completions.stream(…) rejects an answer without a finish_reason. Whoever reads only
# output_text takes half an answer for a whole one; and whoever passes such a stream on has to end it with an error, not just end it.
# Seen with openai 7.57.0, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts openai@7.57.0
cat >try.mjs <<'JS'
import { createServer } from 'node:http';
import OpenAI from 'openai';
const base = { id: 'resp_1', object: 'response', created_at: 1, model: 'gpt', status: 'in_progress', output: [], tools: [], metadata: {} };
const at = { item_id: 'msg_1', output_index: 0, content_index: 0 };
const part = { type: 'output_text', text: '', annotations: [], logprobs: [] };
const item = { type: 'message', id: 'msg_1', role: 'assistant', status: 'in_progress', content: [] };
const events = [
  { type: 'response.created', response: base },
  { type: 'response.output_item.added', output_index: 0, item },
  { type: 'response.content_part.added', ...at, part },
  { type: 'response.output_text.delta', ...at, delta: 'The answer is', logprobs: [] },
].map((each, sequence_number) => ({ ...each, sequence_number }));
const choices = [{ index: 0, delta: { role: 'assistant', content: 'The answer is' }, finish_reason: null }];
const chunks = [{ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'gpt', choices }];
const server = createServer((request, response) => {
  request.resume();
  response.setHeader('content-type', 'text/event-stream');
  response.end((request.url.endsWith('/responses') ? events : chunks).map((each) => `data: ${JSON.stringify(each)}\n\n`).join(''));
}).listen(0, '127.0.0.1', async () => {
  const client = new OpenAI({ apiKey: 'none', baseURL: `http://127.0.0.1:${server.address().port}/v1` });
  const response = await client.responses.stream({ model: 'gpt', input: 'Answer.' }).finalResponse();
  const chat = client.chat.completions.stream({ model: 'gpt', messages: [{ role: 'user', content: 'Answer.' }] });
  const said = await chat.finalChatCompletion().then(() => 'an answer', ({ message }) => message);
  console.log(`responses: ${response.status}, ${response.output_text}; chat: ${said}`);
  process.exit();
});
JS
[ "$(node try.mjs)" = 'responses: in_progress, The answer is; chat: missing finish_reason for choice 0' ] && echo 'as described'
