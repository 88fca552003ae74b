#!/usr/bin/env bash
# What surprised: the AI SDK's default model of @ai-sdk/openai keeps no conversation at the provider, yet from its second request on it sends,
# for the text that the model said, only {"type": "item_reference", "id": …}, though the SDK has the text and nobody asked for `store`. It takes for
# granted that whoever answers keeps answers. A server that keeps none has to refuse it; with providerOptions.openai.store false the text is sent.
# Seen with ai 7.0.173 and @ai-sdk/openai 4.0.118, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts ai@7.0.173 @ai-sdk/openai@4.0.118 zod@4.6.7
cat >try.mjs <<'JS'
import { createServer } from 'node:http';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, isStepCount, tool } from 'ai';
import { z } from 'zod';
const say = (text) => ({ type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text, annotations: [] }] });
const call = { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'look', arguments: '{}', status: 'completed' };
let last;
const server = createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  last = JSON.parse(text);
  const output = last.input.length === 1 ? [say('I look.'), call] : [say('Done.')];
  const usage = { input_tokens: 1, output_tokens: 1 };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify({ id: 'resp_1', object: 'response', created_at: 1, model: 'gpt-4.1', status: 'completed', output, usage }));
}).listen(0, '127.0.0.1', async () => {
  const model = createOpenAI({ apiKey: 'none', baseURL: `http://127.0.0.1:${server.address().port}/v1` })('gpt-4.1');
  const tools = { look: tool({ description: 'Looks.', inputSchema: z.object({}), execute: async () => 'seen' }) };
  for (const openai of [{}, { store: false }]) {
    await generateText({ model, prompt: 'Look.', tools, stopWhen: isStepCount(2), providerOptions: { openai } });
    console.log(JSON.stringify([last.store ?? null, last.input[1]]));
  }
  process.exit();
});
JS
wanted='[null,{"type":"item_reference","id":"msg_1"}]
[false,{"role":"assistant","content":"I look."}]'
[ "$(node try.mjs)" = "$wanted" ] && echo 'as described'
