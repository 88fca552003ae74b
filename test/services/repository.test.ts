import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import type { Sources } from '../../services/agent-runner/repository.ts';
import { fetchRepository, removeLeftovers, returnBranch } from '../../services/agent-runner/repository.ts';

const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
    cwd,
    stdio: 'pipe',
    encoding: 'utf8',
  }).trim();

function makeRepository(folder: string): void {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--initial-branch=main');
  writeFileSync(join(folder, 'README.md'), '# One\n');
  git(folder, 'add', '.');
  git(folder, 'commit', '--quiet', '-m', 'one');
  git(folder, 'checkout', '--quiet', '-b', 'feature/two');
  writeFileSync(join(folder, 'two.md'), '# Two\n');
  git(folder, 'add', '.');
  git(folder, 'commit', '--quiet', '-m', 'two');
  git(folder, 'checkout', '--quiet', 'main');
}

const sources = (folder: string, roots = [folder]): Sources => ({
  roots,
  scratch: join(folder, 'scratch'),
  bytesMax: 10 * 1024 ** 2,
});

/** What a clone of a repository has made, as a run hands it over. */
function bundleOf(folder: string, repository: string, change: (worker: string) => void): Buffer {
  const worker = join(folder, 'worker');
  git(folder, 'clone', '--quiet', repository, worker);
  change(worker);
  git(worker, 'update-ref', 'refs/toka/branch', 'HEAD');
  git(worker, 'bundle', 'create', '--quiet', join(folder, 'work.bundle'), 'refs/toka/branch', '^origin/main');
  return readFileSync(join(folder, 'work.bundle'));
}

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

test('what a repository says to run is not run', async (t) => {
  await using folder = await temporaryFolder();
  const path = (name: string) => join(folder.path, name);
  const [ok, lazy, alternate, elsewhere] = [path('ok'), path('lazy'), path('alternate'), path('elsewhere')];
  makeRepository(ok);
  makeRepository(elsewhere);
  git(folder.path, 'clone', '--quiet', '--no-hardlinks', '--branch=main', ok, lazy);
  git(folder.path, 'clone', '--quiet', '--branch=main', '--reference', ok, ok, alternate);
  const blob = git(lazy, 'rev-parse', 'HEAD:README.md');
  const lost = join(lazy, '.git', 'objects', blob.slice(0, 2), blob.slice(2));
  t.true(existsSync(lost));
  rmSync(lost);
  for (const [name, value] of [
    ['core.repositoryFormatVersion', '1'],
    ['extensions.partialClone', 'origin'],
    ['remote.origin.promisor', 'true'],
    ['remote.origin.uploadpack', `touch ${folder.path}/ran-lazy; git-upload-pack`],
  ] as const)
    git(lazy, 'config', name, value);
  git(alternate, 'config', 'core.alternateRefsCommand', `touch ${folder.path}/ran-alternate; true #`);
  await t.throwsAsync(fetchRepository({ repository: lazy, branch: 'main' }, sources(folder.path)), { code: 'invalid' });
  const work = bundleOf(folder.path, ok, (worker) => git(worker, 'commit', '--quiet', '--allow-empty', '-m', 'new'));
  t.regex(
    await returnBranch({ repository: alternate, branch: 'a' }, sources(folder.path), work),
    /is in the repository/,
  );
  git(elsewhere, 'config', 'protocol.ext.allow', 'always');
  git(elsewhere, 'config', 'core.sshCommand', `touch ${folder.path}/ran-elsewhere;`);
  for (const url of [`ext::touch ${folder.path}/ran-elsewhere %S`, 'ssh://nobody@localhost'])
    for (const insteadOf of ['/', folder.path]) {
      git(elsewhere, 'config', `url.${url}.insteadOf`, insteadOf);
      t.regex(
        await returnBranch({ repository: elsewhere, branch: 'a' }, sources(folder.path), work),
        /was not put into the repository: .*transport '(ext|ssh)' not allowed/,
      );
      git(elsewhere, 'config', '--unset-all', `url.${url}.insteadOf`);
    }
  t.deepEqual(
    readdirSync(folder.path).filter((name) => name.startsWith('ran')),
    [],
  );
  git(alternate, 'fetch', '--quiet', join(folder.path, 'work.bundle'), 'refs/toka/branch:b');
  t.true(existsSync(join(folder.path, 'ran-alternate')), 'it would have been run');
  git(lazy, 'cat-file', '-p', blob);
  t.true(existsSync(join(folder.path, 'ran-lazy')), 'it would have been run');
});

test('a repository that has parts outside the roots is refused', async (t) => {
  await using folder = await temporaryFolder();
  await using outside = await temporaryFolder();
  const secret = join(outside.path, 'secret');
  makeRepository(secret);
  const make = (name: string, change: (repository: string) => void) => {
    const repository = join(folder.path, name);
    makeRepository(repository);
    change(repository);
    return repository;
  };
  const objects = join(secret, '.git', 'objects');
  const alternate = make('alternate', (path) =>
    writeFileSync(join(path, '.git/objects/info/alternates'), `${objects}\n`),
  );
  const refused = [
    alternate,
    make('second', (path) =>
      writeFileSync(join(path, '.git/objects/info/alternates'), `../../../alternate/.git/objects\n`),
    ),
    make('file', (path) => {
      rmSync(join(path, '.git'), { recursive: true });
      writeFileSync(join(path, '.git'), `gitdir: ${secret}/.git`);
    }),
    make('linked', (path) => {
      rmSync(join(path, '.git'), { recursive: true });
      symlinkSync(join(secret, '.git'), join(path, '.git'));
    }),
    make('common', (path) => writeFileSync(join(path, '.git/commondir'), join(secret, '.git'))),
    make('objects', (path) => {
      rmSync(join(path, '.git/objects'), { recursive: true });
      symlinkSync(objects, join(path, '.git/objects'));
    }),
    make('pack', (path) => {
      rmSync(join(path, '.git/objects/pack'), { recursive: true });
      symlinkSync(join(objects, 'pack'), join(path, '.git/objects/pack'));
    }),
  ];
  for (const repository of refused) {
    await t.throwsAsync(
      fetchRepository({ repository, branch: 'main' }, sources(folder.path)),
      { code: 'invalid', message: /lies outside REPOSITORY_ROOTS/ },
      repository,
    );
    t.regex(
      await returnBranch({ repository, branch: 'new' }, sources(folder.path), Buffer.alloc(0)),
      /lies outside REPOSITORY_ROOTS/,
      repository,
    );
  }
  const hooked = make('hooked', (path) => symlinkSync(secret, join(path, '.git/hooks/pre-push')));
  const worktree = join(folder.path, 'worktree');
  git(hooked, 'worktree', 'add', '--quiet', worktree);
  const inner = make('inner', (path) =>
    writeFileSync(join(path, '.git/objects/info/alternates'), '../../../hooked/.git/objects'),
  );
  for (const repository of [hooked, worktree, inner])
    t.truthy((await fetchRepository({ repository, branch: 'main' }, sources(folder.path))).commit, repository);
});

test('what comes back is looked at: a tree that would write into .git is not taken', async (t) => {
  await using folder = await temporaryFolder();
  const repository = join(folder.path, 'project');
  makeRepository(repository);
  const work = bundleOf(folder.path, repository, (worker) => {
    const blob = execFileSync('git', ['hash-object', '-w', '--stdin'], {
      cwd: worker,
      input: 'x',
      encoding: 'utf8',
    }).trim();
    const tree = (name: string, line: string) =>
      execFileSync('git', ['mktree'], { cwd: worker, input: `${line}\t${name}\n`, encoding: 'utf8' }).trim();
    const top = tree('.git', `040000 tree ${tree('config', `100644 blob ${blob}`)}`);
    git(worker, 'reset', '--quiet', '--soft', git(worker, 'commit-tree', top, '-p', 'HEAD', '-m', 'evil'));
  });
  t.regex(
    await returnBranch({ repository, branch: 'evil' }, sources(folder.path), work),
    /was not put into the repository[\s\S]*hasDotgit/,
  );
  t.is(git(repository, 'branch', '--list', 'evil'), '');
});
