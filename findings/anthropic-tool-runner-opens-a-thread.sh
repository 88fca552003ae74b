#!/usr/bin/env bash
# What surprised: client.beta.messages.toolRunner of @anthropic-ai/sdk sends `thread: {"type": "create"}` and the beta message-threads-2026-08-12,
# without being asked to. A server that knows no threads and refuses the field as any unknown one (400, invalid_request_error) ends the run; only
# where the error has details.error_code = thread_unsupported_request does the runner send the same without a thread, and goes on.
# Seen with @anthropic-ai/sdk 1.12.0, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @anthropic-ai/sdk@1.12.0
cat >try.mjs <<'JS'
import { createServer } from 'node:http';
import Anthropic from '@anthropic-ai/sdk';
const usage = { input_tokens: 1, output_tokens: 1 };
const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'claude', stop_reason: 'end_turn', stop_sequence: null, usage };
const ask = (details) =>
  new Promise((resolve) => {
    const threads = [];
    const server = createServer(async (request, response) => {
      let text = '';
      for await (const chunk of request) text += chunk;
      const { thread } = JSON.parse(text);
      threads.push(thread ? thread.type : 'none');
      response.writeHead(thread ? 400 : 200, { 'content-type': 'application/json' });
      const error = { type: 'invalid_request_error', message: 'thread: Extra inputs are not permitted', ...details };
      response.end(JSON.stringify(thread ? { type: 'error', error } : { ...message, content: [{ type: 'text', text: 'Hello' }] }));
    }).listen(0, '127.0.0.1', async () => {
      const client = new Anthropic({ apiKey: 'none', baseURL: `http://127.0.0.1:${server.address().port}` });
      const input_schema = { type: 'object', properties: {} };
      const tools = [{ name: 'look', description: 'Looks.', input_schema, run: () => 'seen', parse: (input) => input }];
      const messages = [{ role: 'user', content: 'Say hello.' }];
      const runner = client.beta.messages.toolRunner({ model: 'claude', max_tokens: 9, messages, tools });
      const said = await runner.runUntilDone().then(({ content }) => content[0].text, ({ status }) => status);
      resolve(`${threads} ${said}`);
    });
  });
console.log(`${await ask({})}; ${await ask({ details: { error_code: 'thread_unsupported_request', unsupported: ['thread'] } })}`);
process.exit();
JS
[ "$(node try.mjs)" = 'create 400; create,none Hello' ] && echo 'as described'
