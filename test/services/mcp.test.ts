import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createMcpHandler } from '@modelcontextprotocol/server';
import test from 'ava';
import { freePort } from '#shared/dev/launch/ports.ts';
import { modernServer } from '#test/fixtures/mcp/modern.ts';
import { childStarter, connect, fixture, never, official } from '#test/fixtures/mcp/start.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';

const everything = official('everything', 'stdio');
const signal = never;

test('the official test server is listed and called in the older protocol', async (t) => {
  await using mcp = await connect({ command: everything, read_only: ['echo', 'get-*'] });
  t.is(mcp.protocol, '2025-11-25');
  t.deepEqual(mcp.problems, []);
  const echo = mcp.tools.find(({ original }) => original === 'echo');
  t.is(echo?.name, 'mcp__test__echo');
  t.true(echo?.readOnly);
  t.like(echo?.inputSchema, { type: 'object', required: ['message'] });
  t.false(mcp.tools.find(({ original }) => original === 'trigger-long-running-operation')?.idempotent);

  t.deepEqual(await mcp.call('mcp__test__echo', { message: 'hé' }, { signal }), {
    isError: false,
    text: 'Echo: hé',
    images: [],
  });
  const wrong = await mcp.call('mcp__test__get-sum', { a: 1, b: 'two' }, { signal });
  t.true(wrong.isError);
  t.regex(wrong.text, /^The arguments of mcp__test__get-sum are wrong.*\n- b: .*number/);
  t.regex((await mcp.call('mcp__test__get-sum', 7, { signal })).text, /must be an object/);
  t.is((await mcp.call('mcp__test__get-sum', { a: 1, b: 2, c: null }, { signal })).text, 'The sum of 1 and 2 is 3.');
  t.regex((await mcp.call('echo', {}, { signal })).text, /^There is no tool "echo" of MCP server "test"/);
});

test('pictures come as such, resources in words, structured content as JSON where there is no text', async (t) => {
  await using mcp = await connect({ command: everything });
  const picture = await mcp.call('mcp__test__get-tiny-image', {}, { signal });
  t.regex(picture.text, /image you requested/);
  t.deepEqual(
    picture.images.map(({ mediaType }) => mediaType),
    ['image/png'],
  );
  t.is(
    Buffer.from(picture.images[0]?.base64 ?? '', 'base64')
      .subarray(1, 4)
      .toString(),
    'PNG',
  );
  const reference = { resourceType: 'Blob', resourceId: 1 };
  const resource = await mcp.call('mcp__test__get-resource-reference', reference, { signal });
  t.regex(resource.text, /\[resource demo:\/\/resource\/dynamic\/blob\/1 \(text\/plain, \d+ bytes\) was left out\]/);
  const structured = await mcp.call('mcp__test__get-structured-content', { location: 'Chicago' }, { signal });
  t.true(Number.isFinite(JSON.parse(structured.text).temperature));
});

test('a long answer is clipped, a slow one is given up, an aborted call throws', async (t) => {
  await using mcp = await connect({ command: everything, result_chars_max: 200, timeout: 2 });
  const long = await mcp.call('mcp__test__echo', { message: 'x'.repeat(1_000) }, { signal });
  t.true(long.text.length < 300);
  t.regex(long.text, /\[… 806 more characters were left out\]$/);
  const slow = { duration: 20, steps: 1 };
  const late = await mcp.call('mcp__test__trigger-long-running-operation', slow, { signal });
  t.deepEqual([late.isError, late.text], [true, 'MCP server "test" did not answer in 2 s.']);

  const stop = new AbortController();
  const call = mcp.call('mcp__test__trigger-long-running-operation', slow, { signal: stop.signal });
  stop.abort(new Error('the run was cancelled'));
  await t.throwsAsync(call, { message: 'the run was cancelled' });
  t.false((await mcp.call('mcp__test__echo', { message: 'on' }, { signal })).isError);
});

test('the official file server works in its folder, with the tools that are allowed', async (t) => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'note.txt'), 'remember');
  const command = official('filesystem', folder.path);
  await using mcp = await connect({ name: 'files', command, tools: ['read_*', 'list_directory'], read_only: ['*'] });
  t.true(mcp.tools.length > 1);
  t.true(mcp.tools.every(({ original, readOnly }) => /^(read_|list_directory$)/.test(original) && readOnly));
  const path = join(folder.path, 'note.txt');
  t.is((await mcp.call('mcp__files__read_text_file', { path }, { signal })).text, 'remember');
  t.true((await mcp.call('mcp__files__read_text_file', { path: '/etc/passwd' }, { signal })).isError);
  const written = await mcp.call('mcp__files__write_file', { path, content: 'gone' }, { signal });
  t.regex(written.text, /^There is no tool/);
});

test('the official test server is reached by streamable HTTP', async (t) => {
  const port = await freePort();
  const [program = '', ...args] = official('everything', 'streamableHttp');
  const server = spawn(program, args, { env: { PORT: String(port) }, stdio: 'ignore' });
  t.teardown(() => server.kill('SIGKILL'));
  const url = `http://127.0.0.1:${port}/mcp`;
  await eventually(async () => (await fetch(url)).status > 0);

  const seen: (string | null)[] = [];
  const env = { KEY: 'key-abcdef' };
  await using mcp = await connect(
    { url, headers: { 'X-Team': 'blue' }, secrets: { Authorization: 'KEY' } },
    {
      env,
      fetch(input, init) {
        const headers = new Headers(init?.headers);
        seen.push(`${headers.get('x-team')} ${headers.get('authorization')}`);
        return fetch(input, init);
      },
    },
  );
  t.is(mcp.protocol, '2025-11-25');
  t.is((await mcp.call('mcp__test__echo', { message: 'far' }, { signal })).text, 'Echo: far');
  t.is((await mcp.call('mcp__test__get-tiny-image', {}, { signal })).images.length, 1);
  t.deepEqual([...new Set(seen)], ['blue Bearer key-abcdef']);
  t.is((await mcp.call('mcp__test__echo', { message: 'I know key-abcdef' }, { signal })).text, 'Echo: I know [secret]');

  server.kill('SIGKILL');
  const gone = await mcp.call('mcp__test__echo', { message: 'far' }, { signal });
  t.true(gone.isError);
  t.regex(gone.text, /^MCP server "test" could not be asked: .*(ECONNREFUSED|closed|fetch failed)/);
});

test('a server of the newer protocol is spoken to in it, by stdio and by HTTP', async (t) => {
  const handler = createMcpHandler(modernServer, { legacy: 'reject' });
  const overHttp = { url: 'http://127.0.0.1/mcp' };
  const toHandler = async (input: string | URL | Request, init?: RequestInit) =>
    handler.fetch(new Request(input, init));
  for (const opened of [connect({ command: fixture('modern') }), connect(overHttp, { fetch: toHandler })]) {
    await using mcp = await opened;
    t.is(mcp.protocol, '2026-07-28');
    t.is((await mcp.call('mcp__test__add', { a: 1, b: 2 }, { signal })).text, '{"sum":3}');
    const ask = await mcp.call('mcp__test__ask', {}, { signal });
    t.true(ask.isError);
    t.regex(ask.text, /refused: .*elicitation/);
  }
  await handler.close();
});

test('a server of the newer protocol says that its tools have changed', async (t) => {
  await using mcp = await connect({ command: fixture('modern') });
  t.is((await mcp.call('mcp__test__fickle', {}, { signal })).text, 'done');
  t.is((await mcp.call('mcp__test__change', {}, { signal })).text, 'changed');
  await eventually(async () => {
    const { isError, text } = await mcp.call('mcp__test__fickle', {}, { signal });
    return isError && text.includes('its tools have changed');
  });
  t.is((await mcp.call('mcp__test__add', { a: 1, b: 2 }, { signal })).text, '{"sum":3}');
});

test('the process of a server ends with its connection', async (t) => {
  const starter = childStarter();
  const mcp = await connect({ command: everything }, { starter });
  const [pid = 0] = starter.pids;
  t.true(process.kill(pid, 0));
  await mcp[Symbol.asyncDispose]();
  await eventually(() => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  });
  const late = await mcp.call('mcp__test__echo', { message: 'x' }, { signal });
  t.is(late.text, 'MCP server "test" is not connected any longer.');
});

test('a server with secrets is started apart from what agents write, unless it is said to be in the workspace', async (t) => {
  const env = { KEY: 'a-secret-of-the-runner' };
  const secrets = { TOKEN: 'KEY' };
  const cases = [
    [{}, false],
    [{ secrets }, true],
    [{ secrets, in_workspace: true }, false],
  ] as const;
  for (const [settings, apart] of cases) {
    const starter = childStarter();
    await using mcp = await connect({ command: everything, ...settings }, { starter, env });
    t.true(mcp.tools.length > 0);
    t.deepEqual([...new Set(starter.apart)], [apart]);
  }
});
