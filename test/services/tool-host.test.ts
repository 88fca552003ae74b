import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Resources } from '../../services/agent-runner/resources.ts';
import { createSlots } from '../../services/agent-runner/slots.ts';
import { openToolHost } from '../../services/agent-runner/tool-host.ts';
import { toolNames } from '../../services/agent-runner/tools/definitions.ts';

async function openHost({
  timeoutMs = 10_000,
  memoryBytes = 256 * 1024 ** 2,
  tools = toolNames,
  slots = createSlots(1),
  sandboxed = true,
  took = (_: Resources): void => undefined,
} = {}) {
  await using stack = new AsyncDisposableStack();
  const outside = stack.use(await temporaryFolder()).path;
  const workspace = join(outside, 'workspace');
  mkdirSync(workspace);
  writeFileSync(join(outside, 'secret.txt'), 'the secret');
  mkdirSync(join(workspace, 'docs'));
  writeFileSync(join(workspace, 'docs', 'guide.md'), '# Guide\nTODO: write it\n');
  writeFileSync(join(workspace, 'README.md'), '# A project\n');
  const abort = new AbortController();
  const host = stack.use(
    openToolHost({ workspace, tools, memoryBytes, timeoutMs, signal: abort.signal, slots, sandboxed, took }),
  );
  const owned = stack.move();
  return { workspace, outside, host, abort, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

test('tools list, read, search, write and hand in what is in the workspace', async (t) => {
  await using opened = await openHost();
  const { host, workspace } = opened;
  t.deepEqual(await host.call('list_files', { recursive: true }), {
    isError: false,
    text: '12\tREADME.md\n-\tdocs/\n23\tdocs/guide.md',
  });
  t.is((await host.call('read_file', { path: 'docs/guide.md' })).text, '# Guide\nTODO: write it\n');
  t.is((await host.call('search_files', { pattern: 'TODO' })).text, 'docs/guide.md:2: TODO: write it');
  t.is((await host.call('write_file', { path: 'out/a.md', content: 'äöü' })).text, 'wrote 6 bytes to out/a.md');
  t.is(await readFile(join(workspace, 'out', 'a.md'), 'utf8'), 'äöü');
  const { deliverable } = await host.call('submit_deliverable', { summary: 'done', path: 'out/a.md' });
  t.is(Buffer.from(deliverable?.bytes ?? []).toString(), 'äöü');
  t.is(deliverable?.mediaType, 'text/markdown');
});

const attacks: [string, string, Record<string, unknown>][] = [
  ['a path that goes up', 'read_file', { path: '../secret.txt' }],
  ['a path that goes up in the middle', 'read_file', { path: 'docs/../../secret.txt' }],
  ['an absolute path', 'read_file', { path: '/etc/passwd' }],
  ['a link to a file outside', 'read_file', { path: 'link' }],
  ['a link to a folder outside', 'read_file', { path: 'up/secret.txt' }],
  ['a hard link to a file outside', 'read_file', { path: 'hard' }],
  ['a folder outside', 'list_files', { path: '..' }],
  ['a linked folder outside', 'list_files', { path: 'up' }],
  ['a search outside', 'search_files', { pattern: 'secret', path: '..' }],
  ['a write outside', 'write_file', { path: '../written', content: 'x' }],
  ['a write through a link to a folder', 'write_file', { path: 'up/written', content: 'x' }],
  ['a write through a link to a file', 'write_file', { path: 'link', content: 'x' }],
  ['a write through a link that leads nowhere', 'write_file', { path: 'nowhere', content: 'x' }],
  ['a write into git', 'write_file', { path: '.git/hooks/post-checkout', content: 'x' }],
  ['a file of this system handed in', 'submit_deliverable', { summary: 's', path: '/proc/self/environ' }],
  ['a NUL in a path', 'read_file', { path: 'README.md\0.txt' }],
  ['a pipe', 'read_file', { path: 'pipe' }],
  ['a device by a link', 'read_file', { path: 'zero' }],
];

for (const sandboxed of [true, false])
  test(`what lies outside of the workspace cannot be reached by any tool, ${sandboxed ? 'with' : 'even without'} the sandbox`, async (t) => {
    await using opened = await openHost({ sandboxed });
    const { host, workspace, outside } = opened;
    symlinkSync('../secret.txt', join(workspace, 'link'));
    symlinkSync('..', join(workspace, 'up'));
    symlinkSync('../not-there-yet', join(workspace, 'nowhere'));
    symlinkSync('/dev/zero', join(workspace, 'zero'));
    linkSync(join(outside, 'secret.txt'), join(workspace, 'hard'));
    execFileSync('mkfifo', [join(workspace, 'pipe')]);
    for (const [what, tool, args] of attacks) {
      const result = await host.call(tool, args);
      t.true(result.isError, what);
      t.false(result.text.includes(outside), `${what}: ${result.text}`);
      t.is(result.deliverable, undefined);
    }
    t.is(await readFile(join(outside, 'secret.txt'), 'utf8'), 'the secret');
    const found = await host.call('search_files', { pattern: 'secret' });
    t.is(found.text, 'no matches');
  });

test('wrong arguments are answered with what to mend', async (t) => {
  await using opened = await openHost();
  const { host } = opened;
  const result = await host.call('read_file', { file: 'README.md', limit: 'many' });
  t.true(result.isError);
  t.regex(result.text, /path: is missing; it must be a text/);
  t.regex(result.text, /limit: must be a number/);
  t.regex(result.text, /"file": no such argument; there are path, offset, limit/);
});

test('a tool that was not granted is not run', async (t) => {
  await using opened = await openHost({ tools: ['read_file'] });
  const result = await opened.host.call('write_file', { path: 'a', content: 'b' });
  t.true(result.isError);
  t.regex(result.text, /no tool of that name/);
});

test('a call that takes too long is killed, and the next one works', async (t) => {
  await using opened = await openHost({ timeoutMs: 700 });
  const { host, workspace } = opened;
  await host.call('list_files', {});
  writeFileSync(join(workspace, 'a.txt'), `${'a'.repeat(60)}!`);
  const slow = await host.call('search_files', { pattern: '^(a+)+$' });
  t.deepEqual(slow, { isError: true, text: 'killed: it took longer than 0.7 s; ask for less at a time' });
  t.false((await openedAgain(host)).isError);
});

// The process is started anew, which may take longer than this host allows for a call: only the call counts.
const openedAgain = (host: { call(tool: string, args: unknown): Promise<{ isError: boolean }> }) =>
  host.call('list_files', {});

test('an abort ends the call at hand', async (t) => {
  await using opened = await openHost({ timeoutMs: 60_000 });
  const { host, workspace, abort } = opened;
  await host.call('list_files', {});
  writeFileSync(join(workspace, 'a.txt'), `${'a'.repeat(60)}!`);
  setTimeout(() => abort.abort(), 100);
  await t.throwsAsync(host.call('search_files', { pattern: '^(a+)+$' }), { code: 'unavailable' });
});

test('tools do not see the environment of their runner', async (t) => {
  process.env.SECRET_OF_THE_TEST = 'seen';
  await using opened = await openHost();
  const { host, workspace } = opened;
  symlinkSync('/proc/self', join(workspace, 'self'));
  t.true((await host.call('read_file', { path: 'self/environ' })).isError);
});

test('only so many hosts run at a time; the next waits for its turn', async (t) => {
  const slots = createSlots(1);
  const first = await openHost({ slots });
  await using second = await openHost({ slots });
  await first.host.call('list_files', {});
  const waiting = second.host.call('list_files', {});
  const pause = new Promise<'pause'>((resolve) => setTimeout(() => resolve('pause'), 300));
  t.is(await Promise.race([waiting, pause]), 'pause');
  await first[Symbol.asyncDispose]();
  t.false((await waiting).isError);
  await using third = await openHost({ slots });
  setTimeout(() => third.abort.abort(), 100);
  await t.throwsAsync(third.host.call('list_files', {}));
});

const measured = process.platform === 'linux' ? test : test.skip;
measured('what a call took of processor and memory is told, each second once', async (t) => {
  const all: Resources[] = [];
  await using opened = await openHost({ took: (resources) => void all.push(resources) });
  await opened.host.call('list_files', {});
  await opened.host.call('list_files', {});
  t.is(all.length, 2);
  t.true(all.every(({ peakBytes }) => peakBytes > 20 * 1024 ** 2 && peakBytes < 1024 ** 3));
  t.true((all[0]?.cpuSeconds ?? 0) > 0, 'its start');
  t.true((all[1]?.cpuSeconds ?? 1) < (all[0]?.cpuSeconds ?? 0), 'only what came since');
});
