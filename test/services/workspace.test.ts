import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Definition } from '#shared/contracts/agent.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { openWorkspace, removeWorkspace } from '../../services/agent-runner/workspace.ts';

const definition = (more: Partial<Definition>): Definition => ({
  name: 'anna',
  version: '1',
  domain: 'test',
  priority: 'high',
  workstream: 'main',
  branch: 'main',
  capabilities: { primary: [], secondary: [] },
  limits: {},
  ...more,
});

function makeRepository(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], { cwd: folder, stdio: 'pipe' });
  git('init', '--quiet', '--initial-branch=main');
  writeFileSync(join(folder, 'README.md'), '# One\n');
  git('add', '.');
  git('commit', '--quiet', '-m', 'one');
  git('checkout', '--quiet', '-b', 'feature/two');
  writeFileSync(join(folder, 'two.md'), '# Two\n');
  git('add', '.');
  git('commit', '--quiet', '-m', 'two');
  git('checkout', '--quiet', 'main');
  writeFileSync(join(folder, '.git', 'hooks', 'post-checkout'), '#!/bin/sh\ntouch ../hooked\n', { mode: 0o755 });
}

const branchOf = (path: string) =>
  execFileSync('git', ['symbolic-ref', '--short', 'HEAD'], { cwd: path, encoding: 'utf8' }).trim();

test('a git repository becomes a clone on the branch, with no way back', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'project');
  makeRepository(repository);
  const open = (runId: string, branch: string) =>
    openWorkspace({
      root: join(folder.path, 'workspaces'),
      runId,
      definition: definition({ repository, branch }),
      repositoryRoots: [folder.path],
    });
  const known = await open('run_1', 'feature/two');
  t.is(branchOf(known.path), 'feature/two');
  t.true(existsSync(join(known.path, 'two.md')));
  t.is(execFileSync('git', ['remote'], { cwd: known.path, encoding: 'utf8' }), '');
  const made = await open('run_2', 'feature/new');
  t.is(branchOf(made.path), 'feature/new');
  t.deepEqual(readdirSync(made.path).sort(), ['.git', 'README.md']);
  t.false(existsSync(join(folder.path, 'workspaces', 'hooked')));
});

test('a workspace is left as it is when its run goes on, and removed at its end', async (t) => {
  await using folder = await temporaryFolder();
  const options = { root: folder.path, runId: 'run_1', definition: definition({}), repositoryRoots: ['.'] };
  const first = await openWorkspace(options);
  t.true(first.fresh);
  writeFileSync(join(first.path, 'note.md'), 'kept');
  mkdirSync(join(folder.path, '.partial-run_1-dead'));
  const second = await openWorkspace(options);
  t.deepEqual(second, { path: first.path, fresh: false });
  t.is(readFileSync(join(second.path, 'note.md'), 'utf8'), 'kept');
  await removeWorkspace(folder.path, 'run_1');
  t.deepEqual(readdirSync(folder.path), []);
});

test('a folder without git is copied, but for what is not its own', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'plain');
  for (const name of ['docs', 'node_modules', '.toka']) mkdirSync(join(repository, name), { recursive: true });
  writeFileSync(join(repository, 'docs', 'a.md'), 'a');
  writeFileSync(join(repository, 'node_modules', 'b.js'), 'b');
  symlinkSync('/etc/passwd', join(repository, 'link'));
  const { path } = await openWorkspace({
    root: join(folder.path, 'workspaces'),
    runId: 'run_1',
    definition: definition({ repository }),
    repositoryRoots: [folder.path],
  });
  t.deepEqual(readdirSync(path).sort(), ['docs', 'link']);
  t.is(readFileSync(join(path, 'docs', 'a.md'), 'utf8'), 'a');
});

test('a repository that may not be used is refused by name, and leaves nothing behind', async (t) => {
  await using folder = await temporaryFolder();
  const inside = join(folder.path, 'inside');
  mkdirSync(inside);
  symlinkSync('/', join(inside, 'root'));
  mkdirSync(join(inside, 'broken', '.git'), { recursive: true });
  const cases: [string, RegExp][] = [
    ['/etc', /lies outside REPOSITORY_ROOTS; add its folder there/],
    [folder.path, /lies outside REPOSITORY_ROOTS/],
    [join(inside, 'root', 'etc'), /lies outside REPOSITORY_ROOTS/],
    [join(inside, 'missing'), /is not there, or this runner may not read it/],
    [join(inside, 'broken'), /could not be cloned on branch "main"/],
    ['https://git.example.org/acmeevil/x', /lies under none of REPOSITORY_ROOTS/],
    ['https://git.example.org/acme/../other/x', /lies under none of REPOSITORY_ROOTS/],
    ['https://user:pass@git.example.org/acme/x', /"\(a URL\)" holds a password/],
    ['ext::sh -c id', /is not there/],
    ['file:///etc', /is not an https, http or ssh URL/],
  ];
  for (const [repository, message] of cases) {
    await t.throwsAsync(
      openWorkspace({
        root: join(folder.path, 'workspaces'),
        runId: 'run_1',
        definition: definition({ repository }),
        repositoryRoots: [inside, 'https://git.example.org/acme'],
      }),
      { code: 'invalid', message },
      repository,
    );
    t.deepEqual(readdirSync(join(folder.path, 'workspaces')), []);
  }
});
