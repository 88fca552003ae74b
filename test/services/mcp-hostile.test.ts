import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import { childStarter, connect, fixture, never } from '#test/fixtures/mcp/start.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { McpConnection } from '../../services/agent-runner/mcp/connect.ts';

const signal = never;
const hostile = (start = 'well') => fixture('hostile', start);

/** Calls a tool and answers its text; it must have failed or not, as is said. */
async function say(t: ExecutionContext, mcp: McpConnection, tool: string, isError: boolean, args: object = {}) {
  const result = await mcp.call(`mcp__test__${tool}`, args, { signal });
  t.is(result.isError, isError, result.text);
  return result.text;
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('a server that hangs in a call is given up, and serves the next one', async (t) => {
  await using mcp = await connect({ command: hostile(), timeout: 2 });
  t.is(await say(t, mcp, 'hang', true), 'MCP server "test" did not answer in 2 s.');
  t.is(await say(t, mcp, 'echo', false, { a: 1 }), '1: {"a":1}');
});

test('a server that never speaks is ended at its start', async (t) => {
  const starter = childStarter();
  const opening = connect({ command: hostile('silent'), start_timeout: 1 }, { starter });
  await t.throwsAsync(opening, { code: 'timeout', message: 'MCP server "test" was not ready in 1 s' });
  await eventually(() => starter.pids.length === 1 && !starter.pids.some(isAlive));
});

test('a server that ends before it is ready says how', async (t) => {
  const opening = connect({ command: hostile('dies') });
  await t.throwsAsync(opening, {
    code: 'unavailable',
    message: 'MCP server "test" ended before it was ready: exit code 7',
  });
  await t.throwsAsync(connect({ command: ['/nowhere/mcp'] }), {
    code: 'unavailable',
    message: /^MCP server "test" could not be started: .*ENOENT/,
  });
});

test('an old server that ends at an unknown question is asked none', async (t) => {
  const starter = childStarter();
  await using mcp = await connect({ command: hostile('old') }, { starter });
  t.is(mcp.protocol, '2025-11-25');
  t.is(starter.pids.length, 2);
  t.is(await say(t, mcp, 'echo', false), '1: {}');
});

test('a server that dies in a call is started again by the next one', async (t) => {
  await using folder = await temporaryFolder();
  const env = { STATE: join(folder.path, 'starts') };
  await using mcp = await connect({ command: hostile(), env });
  t.is(await say(t, mcp, 'echo', false), '1: {}');
  t.is(await say(t, mcp, 'die', true), 'MCP server "test" ended: exit code 3.');
  const [one, two] = await Promise.all([say(t, mcp, 'echo', false, { n: 1 }), say(t, mcp, 'echo', false, { n: 2 })]);
  t.deepEqual([one, two], ['2: {"n":1}', '2: {"n":2}']);
});

test('a server that does not come up again is tried twice in a call, and not for ever', async (t) => {
  await using folder = await temporaryFolder();
  const starter = childStarter();
  const env = { STATE: join(folder.path, 'starts') };
  await using mcp = await connect({ command: hostile('dies-later'), env }, { starter });
  await say(t, mcp, 'die', true);
  t.is(await say(t, mcp, 'echo', true), 'MCP server "test" ended before it was ready: exit code 7.');
  t.is(starter.pids.length, 3);
  for (let call = 0; call < 2; call++) await say(t, mcp, 'echo', true);
  t.regex(await say(t, mcp, 'echo', true), /has ended too often without an answer/);
  t.is(starter.pids.length, 7);
});

for (const [tool, why] of [
  ['flood', 'it says more than 1000 lines a second'],
  ['huge', 'it says a line of more than 4194304 bytes'],
  ['endless', 'it says a line of more than 4194304 bytes'],
] as const)
  test(`a server's ${tool} answer ends it`, async (t) => {
    const starter = childStarter();
    await using mcp = await connect({ command: hostile() }, { starter });
    t.is(await say(t, mcp, tool, true), `MCP server "test" ended: ${why}.`);
    await eventually(() => !starter.pids.some(isAlive));
    t.is(await say(t, mcp, 'echo', false), '1: {}');
  });

test('a server that does not read is ended', async (t) => {
  await using mcp = await connect({ command: hostile(), timeout: 5 });
  t.is(await say(t, mcp, 'silence', false), 'I do not listen.');
  const text = 'x'.repeat(5 * 1024 ** 2);
  const calls = [1, 2, 3, 4].map(() => mcp.call('mcp__test__echo', { text }, { signal }));
  const results = await Promise.all(calls);
  t.true(results.every(({ isError }) => isError));
  t.regex(results.at(-1)?.text ?? '', /it does not read what it is sent/);
});

test('a tool that changes is not called again, one that stays is, a new one waits', async (t) => {
  await using mcp = await connect({ command: hostile() });
  t.is(await say(t, mcp, 'echo', false), '1: {}');
  await say(t, mcp, 'change', false);
  t.regex(
    await say(t, mcp, 'echo', true),
    /^MCP server "test": its tools have changed, and mcp__test__echo is not what it was/,
  );
  t.regex(await say(t, mcp, 'hang', true), /its tools have changed/);
  t.regex(await say(t, mcp, 'new', true), /^There is no tool "mcp__test__new"/);
  t.is(await say(t, mcp, 'nothing', false), '[the tool answered nothing]');
});

test('a tool whose schema is nested without end has changed, and the others go on', async (t) => {
  await using mcp = await connect({ command: hostile() });
  await say(t, mcp, 'bury', false);
  t.regex(await say(t, mcp, 'echo', true), /its tools have changed/);
  t.is(await say(t, mcp, 'nothing', false), '[the tool answered nothing]');
});

test('a tool that is another one after a restart is not called', async (t) => {
  await using folder = await temporaryFolder();
  const env = { STATE: join(folder.path, 'starts') };
  await using mcp = await connect({ command: hostile('other-after-restart'), env });
  t.is(await say(t, mcp, 'echo', false), '1: {}');
  await say(t, mcp, 'die', true);
  t.regex(await say(t, mcp, 'echo', true), /its tools have changed/);
  t.is(await say(t, mcp, 'nothing', false), '[the tool answered nothing]');
});

test('a model, a person and folders are refused to a server that asks for them', async (t) => {
  await using mcp = await connect({ command: hostile() });
  const codes = JSON.parse(await say(t, mcp, 'ask', false));
  t.deepEqual(codes, { 'sampling/createMessage': -32601, 'elicitation/create': -32601, 'roots/list': -32601 });
});

test('a secret that a server was given is blotted out of all that it says', async (t) => {
  const secret = 'p"ass word/ä+1';
  await using mcp = await connect(
    { command: hostile(), secrets: { TOKEN: 'RUNNER_TOKEN' } },
    { env: { RUNNER_TOKEN: secret } },
  );
  t.is(await say(t, mcp, 'secret', false), '[secret] [secret] "[secret]"');
  t.is(await say(t, mcp, 'fail', true), 'MCP server "test" refused: cannot use [secret].');
});

test('a secret that is not set or too short to hide stops the connection by its name', async (t) => {
  const settings = { command: hostile(), secrets: { TOKEN: 'RUNNER_TOKEN' } };
  await t.throwsAsync(connect(settings), {
    code: 'invalid',
    message: 'MCP server "test" needs the secret TOKEN, and RUNNER_TOKEN is not set',
  });
  const error = await t.throwsAsync(connect(settings, { env: { RUNNER_TOKEN: 'abcde' } }));
  t.regex(error.message, /has fewer than 6 characters/);
  t.false(error.message.includes('abcde'));
});

test('an answer that is nested without end does no harm', async (t) => {
  await using mcp = await connect({ command: hostile() });
  const { text } = await mcp.call('mcp__test__deep', {}, { signal });
  t.true(text.length < 60_000);
  t.is(await say(t, mcp, 'echo', false), '1: {}');
});
