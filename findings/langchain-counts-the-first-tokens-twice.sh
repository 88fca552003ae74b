#!/usr/bin/env bash
# What surprised: on Anthropic's wire `output_tokens` of message_delta is the count of the whole answer, what message_start said included.
# ChatAnthropic of @langchain/anthropic adds the two when it streams: an answer of 20 tokens whose stream began with 8 has 28 in
# usage_metadata. Not streamed, it has 20. Whoever makes such a stream of another provider's answer says 0 in message_start, so that all agree.
# Seen with @langchain/anthropic 1.5.11 and @langchain/core 1.4.0, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @langchain/anthropic@1.5.11 @langchain/core@1.4.0
cat >try.mjs <<'JS'
import { createServer } from 'node:http';
import { ChatAnthropic } from '@langchain/anthropic';
const usage = { input_tokens: 10, output_tokens: 20 };
const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude', content: [], stop_reason: null, stop_sequence: null };
const events = [
  { type: 'message_start', message: { ...message, usage: { ...usage, output_tokens: 8 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'Hello' } },
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage },
  { type: 'message_stop' },
];
const server = createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  response.setHeader('content-type', JSON.parse(text).stream ? 'text/event-stream' : 'application/json');
  if (JSON.parse(text).stream) return response.end(events.map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`).join(''));
  response.end(JSON.stringify({ ...message, content: [{ type: 'text', text: 'Hello' }], stop_reason: 'end_turn', usage }));
}).listen(0, '127.0.0.1', async () => {
  const anthropicApiUrl = `http://127.0.0.1:${server.address().port}`;
  const model = new ChatAnthropic({ model: 'claude', apiKey: 'none', anthropicApiUrl });
  let streamed;
  for await (const chunk of await model.stream('Say hello.')) streamed = streamed ? streamed.concat(chunk) : chunk;
  const whole = await model.invoke('Say hello.');
  console.log(`streamed ${streamed.usage_metadata.output_tokens}, whole ${whole.usage_metadata.output_tokens}`);
  process.exit();
});
JS
[ "$(node try.mjs)" = 'streamed 28, whole 20' ] && echo 'as described'
