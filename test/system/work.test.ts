import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { DataOf, Recorded } from '#shared/contracts/events.ts';
import { agentInput } from '#test/helpers/agents.ts';
import type { FakeReply, FakeScript } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const call = (tool: string, args: Record<string, unknown> = {}): FakeReply => ({
  text: '',
  toolCalls: [{ tool, args }],
});

/** A model that mends a sum: it looks, runs the tests, edits, runs them again, commits and hands in. */
const mend: FakeReply[] = [
  call('list_files', { recursive: true }),
  {
    text: '',
    toolCalls: [
      { tool: 'read_file', args: { path: 'sum.js' } },
      { tool: 'read_file', args: { path: 'sum.test.js' } },
    ],
  },
  call('shell', { command: 'node --test' }),
  call('edit_file', { path: 'sum.js', old_text: 'a - b', new_text: 'a + b' }),
  call('shell', { command: 'node --test' }),
  call('git_commit', { message: 'Add, and do not subtract' }),
  call('write_file', { path: 'report.md', content: '# Done\nIt adds now.\n' }),
  call('submit_deliverable', { summary: 'It adds now.', path: 'report.md' }),
];
const script: FakeScript = ({ turns }) => mend[turns] ?? { text: 'Nothing is left to do.' };

const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
    cwd,
    stdio: 'pipe',
    encoding: 'utf8',
  }).trim();

function makeRepository(folder: string): void {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--initial-branch=main');
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n');
  writeFileSync(join(folder, 'sum.js'), 'export const sum = (a, b) => a - b;\n');
  writeFileSync(
    join(folder, 'sum.test.js'),
    "import assert from 'node:assert';\nimport test from 'node:test';\nimport { sum } from './sum.js';\ntest('it adds', () => assert.equal(sum(2, 2), 4));\n",
  );
  git(folder, 'add', '.');
  git(folder, 'commit', '--quiet', '-m', 'A sum with a fault');
}

test("an agent mends a repository with a failing test, on its branch, and the user's checkout stays as it is", async (t) => {
  await using provider = await startFakeProvider({ script });
  await using system = await startSystem({
    agents: '',
    environment: {
      ...anthropicAt(provider),
      RESPONSE_CACHE_ENABLED: 'false',
    },
  });
  const repository = join(system.folder, 'project');
  makeRepository(repository);
  const before = { status: git(repository, 'status', '--porcelain'), head: git(repository, 'rev-parse', 'HEAD') };
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const agent = agentInput({
    name: 'mender',
    branch: 'feature/mend',
    repository,
    capabilities: { primary: ['filesystem-write', 'test-execution', 'git-access'], secondary: [] },
    artifacts: ['*.md'],
    objectives: [
      {
        description: 'Mend the sum',
        deliverable: 'report.md',
        validation: 'It adds',
        validation_command: 'node --test',
      },
    ],
  });
  provider.play((request, count) =>
    request.forced === 'verdict' ? call('verdict', { pass: true, reasons: [] }) : script(request, count),
  );
  const posted = await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(agent) });
  t.is(posted.status, 201, await posted.clone().text());
  const end = await system.saw(({ type }) => /^toka\.run\.(completed|failed)/.test(type));
  t.is(end.type, 'toka.run.completed.v1', JSON.stringify(end.data));

  const of = <T extends Recorded['type']>(type: T) =>
    system.events.filter((event) => event.type === type).map(({ data }) => data as DataOf<T>);
  const results = of('toka.run.tool-returned.v1');
  t.regex(results[3]?.text ?? '', /not ok|fail 1/, 'the test is seen to fail');
  t.true(results[3]?.isError);
  t.regex(results[5]?.text ?? '', /pass 1/);
  t.false(results[5]?.isError);
  t.is(results.filter(({ snapshot }) => snapshot).length, 3, 'the edit, the commit and the report are saved');
  t.true(results.every(({ resources }) => resources !== undefined));
  const [validated] = of('toka.run.validated.v1');
  t.like(validated, { pass: true, command: { exitCode: 0 } });

  const [kept] = of('toka.run.workspace-kept.v1');
  t.like(kept, {
    branch: 'feature/mend',
    base: before.head,
    commits: 2,
    pushed: 'branch "feature/mend" is in the repository',
  });
  t.deepEqual(
    kept?.artifacts.map(({ name }) => name),
    ['report.md'],
  );
  t.is(git(repository, 'show', 'feature/mend:sum.js'), 'export const sum = (a, b) => a + b;');
  t.is(git(repository, 'log', '-1', '--format=%an: %s', 'feature/mend~1'), 'mender: Add, and do not subtract');
  t.deepEqual({ status: git(repository, 'status', '--porcelain'), head: git(repository, 'rev-parse', 'HEAD') }, before);
  t.is(readFileSync(join(repository, 'sum.js'), 'utf8'), 'export const sum = (a, b) => a - b;\n');
  t.false(existsSync(join(repository, 'report.md')));
  const diff = kept?.diff ? (await system.bus.artifacts.get(kept.diff)).toString('utf8') : '';
  t.regex(diff, /-export const sum = \(a, b\) => a - b;\n\+export const sum = \(a, b\) => a \+ b;/);
  t.is(
    readFileSync(join(system.folder, 'deliverables', 'mender', 'objective-1', 'report.md'), 'utf8'),
    '# Done\nIt adds now.\n',
  );
});

test('official MCP servers are tools of an agent: in the sandbox, on its workspace, with a secret that nobody sees', async (t) => {
  const servers = `
[[mcp_servers]]
name = "files"
command = ["node", "${process.cwd()}/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js", "/workspace"]
tools = ["write_file", "read_text_file", "list_directory"]
[[mcp_servers]]
name = "every"
command = ["node", "${process.cwd()}/node_modules/@modelcontextprotocol/server-everything/dist/index.js", "stdio"]
tools = ["get-env", "echo"]
secrets = { API_TOKEN = "TOKEN_OF_THE_TEST" }
workstreams = ["main"]
`;
  const steps: FakeReply[] = [
    call('mcp__files__write_file', { path: '/workspace/a.md', content: 'by a server' }),
    call('mcp__files__read_text_file', { path: '/etc/passwd' }),
    call('mcp__every__get-env'),
    call('shell', { command: 'cat a.md; cat /proc/*/environ 2>/dev/null | tr "\\0" "\\n" | grep TOKEN' }),
    call('submit_deliverable', { summary: 'done', path: 'a.md' }),
  ];
  await using provider = await startFakeProvider({
    script: (request) =>
      request.forced === 'verdict'
        ? call('verdict', { pass: true, reasons: [] })
        : (steps[request.turns] ?? { text: 'Nothing is left.' }),
  });
  await using system = await startSystem({
    agents: servers,
    environment: {
      LLM_PROVIDER: 'openai',
      OPENAI_API_KEY: 'key-of-the-tests',
      OPENAI_BASE_URL: provider.openAiUrl,
      LLM_MODEL: 'gpt-test',
      TOKEN_OF_THE_TEST: 'a-secret-for-the-server',
    },
  });
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const agent = agentInput({
    name: 'user',
    capabilities: { primary: ['mcp:files', 'mcp:every', 'shell'], secondary: [] },
  });
  await fetch(`${system.api}/agents`, { method: 'POST', headers, body: JSON.stringify(agent) });
  const end = await system.saw(({ type }) => /^toka\.run\.(completed|failed)/.test(type));
  t.is(end.type, 'toka.run.completed.v1', JSON.stringify(end.data));
  const results = system.events.flatMap(({ type, data }) =>
    type === 'toka.run.tool-returned.v1' ? [data as DataOf<'toka.run.tool-returned.v1'>] : [],
  );
  t.truthy(results[0]?.snapshot, 'what a server changes is saved');
  t.true(results[1]?.isError);
  t.regex(results[2]?.text ?? '', /"API_TOKEN": "\[secret\]"/);
  t.regex(results[3]?.text ?? '', /^by a server\n?\[exit code [01]\]$/);
  t.false(JSON.stringify(system.events).includes('a-secret-for-the-server'));
  t.true(provider.requests.every(({ body }) => !JSON.stringify(body).includes('a-secret-for-the-server')));
  t.deepEqual(
    Object.keys(provider.requests[0]?.tools ?? {})
      .filter((name) => name.startsWith('mcp__'))
      .sort(),
    [
      'mcp__every__echo',
      'mcp__every__get-env',
      'mcp__files__list_directory',
      'mcp__files__read_text_file',
      'mcp__files__write_file',
    ],
  );
});
