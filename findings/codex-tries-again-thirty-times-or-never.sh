#!/usr/bin/env bash
# What surprised: Codex has five tries in each of six connections, so a server that answers 500 is asked 30 times for one turn. A 429 it
# takes for final, and asks once; unless there is `Retry-After`, with which it asks six times. Its WebSocket, where a provider has
# supports_websockets, is tried seven times on 404 or 405, for six seconds, before it goes on with POST; on 426 it goes on at once.
# Seen with @openai/codex 0.169.0 on Linux, 2026-11-30. Needs Node and npm, some 100 MB of disk, and 40 seconds.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --ignore-scripts @openai/codex@0.169.0
cat >try.mjs <<'JS'
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
const content = [{ type: 'output_text', text: 'Hello', annotations: [] }];
const item = { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content };
const whole = { id: 'resp_1', object: 'response', created_at: 1, model: 'gpt', status: 'completed', output: [item] };
const events = [
  { type: 'response.created', response: { ...whole, status: 'in_progress', output: [] } },
  { type: 'response.output_item.done', output_index: 0, item },
  { type: 'response.completed', response: whole },
];
/** How often Codex asks by WebSocket and by POST for one turn. */
const ask = ({ upgrade, status, headers }) =>
  new Promise((resolve) => {
    const asked = { upgrades: 0, posts: 0 };
    const server = createServer((request, response) => {
      request.resume();
      asked.posts += 1;
      if (status) return response.writeHead(status, headers).end('{}');
      response.setHeader('content-type', 'text/event-stream');
      response.end(events.map((each) => `event: ${each.type}\ndata: ${JSON.stringify(each)}\n\n`).join(''));
    });
    server.on('upgrade', (_request, socket) => {
      asked.upgrades += 1;
      socket.end(`HTTP/1.1 ${upgrade} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
    });
    server.listen(0, '127.0.0.1', () => {
      const home = mkdtempSync(`${process.cwd()}/home-`);
      const url = `http://127.0.0.1:${server.address().port}/v1`;
      const provider = `name = "local"\nbase_url = "${url}"\nwire_api = "responses"\nsupports_websockets = ${upgrade !== undefined}\n`;
      writeFileSync(`${home}/config.toml`, `model = "gpt"\nmodel_provider = "local"\n[model_providers.local]\n${provider}`);
      const env = { PATH: process.env.PATH, HOME: home, CODEX_HOME: home };
      const codex = spawn('node_modules/.bin/codex', ['exec', '--skip-git-repo-check', '-C', home, 'Say hello.'], { env, stdio: 'ignore' });
      codex.on('close', () => server.close(() => resolve(`${asked.upgrades}+${asked.posts}`)) && server.closeAllConnections());
    });
  });
const cases = [{ status: 500 }, { status: 429 }, { status: 429, headers: { 'retry-after': '1' } }, { upgrade: 405 }, { upgrade: 426 }];
console.log((await Promise.all(cases.map(ask))).join(' '));
process.exit();
JS
[ "$(node try.mjs)" = '0+30 0+1 0+6 7+1 1+1' ] && echo 'as described'
