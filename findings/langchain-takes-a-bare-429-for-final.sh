#!/usr/bin/env bash
# What surprised: LangChain's models try again up to six times, after a 500 for certain; but a 429 without `Retry-After` they take for a
# limit that will not pass, and try it not once. With `Retry-After` of up to 60 s they do. So a server that means "in a moment" has to say so.
# Seen with @langchain/openai 1.6.0 and @langchain/core 1.4.0, 2026-11-30. Needs Node and npm.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @langchain/openai@1.6.0 @langchain/core@1.4.0
cat >try.mjs <<'JS'
import { createServer } from 'node:http';
import { ChatOpenAI } from '@langchain/openai';
/** How the model takes it that its first request is answered so; the next gets an answer. */
const ask = (status, headers) =>
  new Promise((resolve) => {
    let requests = 0;
    const server = createServer((request, response) => {
      request.resume();
      requests += 1;
      response.writeHead(requests === 1 ? status : 200, { 'content-type': 'application/json', ...headers });
      if (requests === 1) return response.end('{"error":{"message":"slow down","type":"rate_limit_error"}}');
      const message = { role: 'assistant', content: 'Hello', refusal: null };
      const choices = [{ index: 0, message, finish_reason: 'stop', logprobs: null }];
      response.end(JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion', created: 1, model: 'gpt', choices }));
    }).listen(0, '127.0.0.1', async () => {
      const configuration = { baseURL: `http://127.0.0.1:${server.address().port}/v1` };
      const said = await new ChatOpenAI({ model: 'gpt', apiKey: 'none', configuration }).invoke('Say hello.').then(({ text }) => text, () => 'error');
      resolve(`${status}: ${said} after ${requests}`);
    });
  });
console.log([await ask(500, {}), await ask(429, {}), await ask(429, { 'retry-after': '1' })].join(', '));
process.exit();
JS
[ "$(node try.mjs)" = '500: Hello after 2, 429: error after 1, 429: Hello after 2' ] && echo 'as described'
