import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import test from 'ava';
import { freePort } from '#shared/dev/launch/ports.ts';
import { connect, never } from '#test/fixtures/mcp/start.ts';

type Asked = { id?: number | string; method: string; params?: { name?: string } };
type Answer = (asked: Asked, response: ServerResponse, request: IncomingMessage) => void;

/** A server on loopback that answers what `other` does not as one of protocol 2026-07-28 would. */
async function serve(other: Answer) {
  const requests: string[] = [];
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(405).end();
    const asked = (await json(request)) as Asked;
    requests.push(asked.method);
    other(asked, response, request);
    if (response.headersSent || response.writableEnded) return undefined;
    if (asked.method === 'server/discover') return answer(response, asked, discovered);
    if (asked.method === 'tools/list')
      return answer(response, asked, { tools, resultType: 'complete', ttlMs: 0, cacheScope: 'private' });
    return response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

const discovered = {
  resultType: 'complete',
  supportedVersions: ['2026-07-28'],
  capabilities: { tools: {} },
  serverInfo: { name: 'raw', version: '1' },
  ttlMs: 0,
  cacheScope: 'private',
};
const tools = [{ name: 'act', description: 'Acts.', inputSchema: { type: 'object' } }];

function answer(response: ServerResponse, { id }: Asked, result: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
}

/** What comes of a call that the server answers so. */
async function callActs(act: Answer) {
  await using server = await serve((asked, response, request) => {
    if (asked.method === 'tools/call') act(asked, response, request);
  });
  await using mcp = await connect({ url: server.url, timeout: 5 });
  const { isError, text } = await mcp.call('mcp__test__act', {}, { signal: never });
  return { isError, text, requests: server.requests };
}

test('a server by HTTP that asks for something in return does not get it', async (t) => {
  const { isError, text } = await callActs((asked, response) =>
    answer(response, asked, {
      resultType: 'input_required',
      inputRequests: { who: { method: 'roots/list', params: {} } },
      requestState: 'x',
    }),
  );
  t.true(isError);
  t.regex(text, /asked for something in return \(a person, a model or a folder\), which it does not get/);
});

test('a body without end is cut off', async (t) => {
  const { isError, text } = await callActs((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const more = () => response.destroyed || response.write('x'.repeat(256 * 1024), more);
    more();
  });
  t.true(isError);
  t.regex(text, /it answers with more than 8388608 bytes/);
});

test('a stream of too many lines is cut off', async (t) => {
  const { isError, text } = await callActs((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(': nothing\n\n'.repeat(10_000));
  });
  t.true(isError);
  t.regex(text, /it says more than 5000 lines a second/);
});

test('an answer that is no result is said to be none', async (t) => {
  const { isError, text } = await callActs((asked, response) =>
    answer(response, asked, { resultType: 'complete', content: 'text' }),
  );
  t.true(isError);
  t.regex(text, /answered with something that is no result/);
});

test('a redirect to another host takes no headers with it', async (t) => {
  let seen: string | undefined;
  await using other = await serve((_, __, request) => {
    seen = request.headers.authorization ?? 'nothing';
  });
  await using server = await serve((_, response) => response.writeHead(307, { location: other.url }).end());
  const settings = { url: server.url, secrets: { Authorization: 'KEY' } };
  const error = await t.throwsAsync(connect(settings, { env: { KEY: 'Bearer key-abcdef' } }));
  t.regex(error.message, /^MCP server "test" could not be started/);
  t.false(error.message.includes('key-abcdef'));
  t.is(seen, undefined);
});

test('a server that wants credentials says so at its start, without what it was given', async (t) => {
  await using server = await serve((_, response, request) =>
    response.writeHead(401).end(`not ${request.headers.authorization}`),
  );
  const settings = { url: server.url, secrets: { Authorization: 'KEY' } };
  const error = await t.throwsAsync(connect(settings, { env: { KEY: 'Bearer key-abcdef' } }));
  t.regex(error.message, /^MCP server "test" could not be started: .*requires authorization \(HTTP 401\)/);
  t.false(error.message.includes('key-abcdef'));
});

test('a server that is away, and one that never answers, stop the connection', async (t) => {
  await t.throwsAsync(connect({ url: `http://127.0.0.1:${await freePort()}/mcp` }), {
    message: /^MCP server "test" could not be started: .*ECONNREFUSED/,
  });
  await using server = await serve((_, response) => response.flushHeaders());
  await t.throwsAsync(connect({ url: server.url, start_timeout: 0.5 }), { code: 'timeout' });
});
