import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { git, makeRepository, sources } from '#test/helpers/repositories.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { fetchRepository, removeLeftovers, returnBranch } from '../../services/agent-runner/repository.ts';

/** The files of a bundle's commit, as anyone would unpack it. */
function unpack(folder: string, bundle: Buffer | null, commit: string | null): string[] {
  const target = join(folder, `unpacked-${readdirSync(folder).length}`);
  mkdirSync(target);
  writeFileSync(join(folder, 'some.bundle'), bundle ?? '');
  git(target, 'init', '--quiet');
  git(
    target,
    'fetch',
    '--quiet',
    join(folder, 'some.bundle'),
    '+refs/*:refs/base/*',
    ...(bundle?.includes('HEAD') ? ['HEAD'] : []),
  );
  return git(target, 'ls-tree', '-r', '--name-only', commit ?? '').split('\n');
}

test('a repository is bundled at its branch, and at the one it is on where there is none of that name', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'project');
  makeRepository(repository);
  const known = await fetchRepository({ repository, branch: 'feature/two' }, sources(folder.path));
  t.is(known.commit, git(repository, 'rev-parse', 'feature/two'));
  t.deepEqual(unpack(folder.path, known.bundle, known.commit), ['README.md', 'two.md']);
  const made = await fetchRepository({ repository, branch: 'feature/new' }, sources(folder.path));
  t.is(made.commit, git(repository, 'rev-parse', 'main'));
  t.deepEqual(await fetchRepository({ repository: undefined, branch: 'main' }, sources(folder.path)), {
    commit: null,
    bundle: null,
  });
  t.deepEqual(readdirSync(join(folder.path, 'scratch')), [], 'nothing is left behind');
});

test('a folder without git becomes one commit, the same for the same files, but for what is not its own', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'plain');
  for (const name of ['docs', 'node_modules', '.toka', 'docs/node_modules'])
    mkdirSync(join(repository, name), { recursive: true });
  writeFileSync(join(repository, 'docs', 'a.md'), 'a');
  writeFileSync(join(repository, 'docs', 'node_modules', 'c.js'), 'c');
  writeFileSync(join(repository, 'node_modules', 'b.js'), 'b');
  writeFileSync(join(repository, '.toka', 'secrets.json'), '{}');
  symlinkSync('/etc/passwd', join(repository, 'link'));
  const first = await fetchRepository({ repository, branch: 'main' }, sources(folder.path));
  t.deepEqual(unpack(folder.path, first.bundle, first.commit), ['docs/a.md', 'link']);
  const second = await fetchRepository({ repository, branch: 'main' }, sources(folder.path));
  t.is(second.commit, first.commit);
  t.true(
    Buffer.compare(second.bundle ?? Buffer.alloc(0), first.bundle ?? Buffer.alloc(1)) === 0,
    'the same bytes are kept once',
  );
});

test('what is too large for a workspace is refused with the setting that says so', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'large');
  mkdirSync(repository);
  writeFileSync(join(repository, 'a.bin'), Buffer.alloc(2_000));
  await t.throwsAsync(fetchRepository({ repository, branch: 'main' }, { ...sources(folder.path), bytesMax: 1_000 }), {
    code: 'invalid',
    message: /MAX_DISK_PER_AGENT/,
  });
});

test('a branch comes back to its repository; what is checked out, and what does not continue it, stays as it is', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'project');
  const worker = join(folder.path, 'worker');
  makeRepository(repository);
  writeFileSync(join(repository, '.git', 'hooks', 'reference-transaction'), '#!/bin/sh\ntouch ../hooked\n', {
    mode: 0o755,
  });
  git(folder.path, 'clone', '--quiet', repository, worker);
  writeFileSync(join(worker, 'new.md'), 'new');
  git(worker, 'add', '.');
  git(worker, 'commit', '--quiet', '-m', 'new');
  git(worker, 'update-ref', 'refs/toka/branch', 'HEAD');
  git(worker, 'bundle', 'create', '--quiet', join(folder.path, 'work.bundle'), 'refs/toka/branch', '^origin/main');
  const work = readFileSync(join(folder.path, 'work.bundle'));
  const before = git(repository, 'status', '--porcelain');

  t.regex(
    await returnBranch({ repository, branch: 'feature/new' }, sources(folder.path), work),
    /is in the repository/,
  );
  t.is(git(repository, 'rev-parse', 'feature/new'), git(worker, 'rev-parse', 'HEAD'));
  t.is(git(repository, 'status', '--porcelain'), before);
  t.false(existsSync(join(repository, 'new.md')));
  t.false(existsSync(join(folder.path, 'hooked')));
  t.regex(
    await returnBranch({ repository, branch: 'main' }, sources(folder.path), work),
    /was not put into the repository/,
  );
  t.is(git(repository, 'log', '-1', '--format=%s', 'main'), 'one', 'it is checked out');
  t.regex(
    await returnBranch({ repository, branch: 'feature/two' }, sources(folder.path), work),
    /was not put into the repository/,
  );
  t.is(git(repository, 'log', '-1', '--format=%s', 'feature/two'), 'two', 'it has gone another way');
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
    ['https://git.example.org/acmeevil/x', /lies under none of REPOSITORY_ROOTS/],
    ['https://git.example.org/acme/../other/x', /lies under none of REPOSITORY_ROOTS/],
    ['https://user:pass@git.example.org/acme/x', /"\(a URL\)" holds a password/],
    ['ext::sh -c id', /is not there/],
    ['file:///etc', /is not an https, http or ssh URL/],
  ];
  const given = sources(folder.path, [inside, 'https://git.example.org/acme']);
  for (const [repository, message] of cases)
    await t.throwsAsync(
      fetchRepository({ repository, branch: 'main' }, given),
      { code: 'invalid', message },
      repository,
    );
});

test('what a dead runner has left is removed at once, what a live one works on is not before it is old', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'project');
  makeRepository(repository);
  const given = sources(folder.path);
  const host = hostname().replace(/[^a-zA-Z0-9]/g, '');
  const dead = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
  const names = {
    [`repository-${host}-${dead}-00ff-a`]: false,
    [`repository-${host}-${process.pid}-00ff-b`]: false,
    [`repository-${host}-${process.ppid}-00ff-c`]: true,
    [`repository-elsewhere-${dead}-00ff-d`]: true,
    'repository-old': false,
    'not-a-repository': true,
  };
  for (const name of Object.keys(names)) mkdirSync(join(given.scratch, name), { recursive: true });
  utimesSync(join(given.scratch, 'repository-old'), 1, 1);
  const fetching = fetchRepository({ repository, branch: 'main' }, given);
  let fetched = false;
  void fetching.finally(() => {
    fetched = true;
  });
  while (!fetched) await removeLeftovers(given);
  t.is((await fetching).commit, git(repository, 'rev-parse', 'main'));
  t.deepEqual(
    readdirSync(given.scratch).sort(),
    Object.keys(names)
      .filter((name) => names[name])
      .sort(),
  );
});
