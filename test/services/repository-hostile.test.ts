import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { git, makeRepository, sources } from '#test/helpers/repositories.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { fetchRepository, returnBranch } from '../../services/agent-runner/repository.ts';

/** What a clone of a repository has made, as a run hands it over. */
function bundleOf(folder: string, repository: string, change: (worker: string) => void): Buffer {
  const worker = join(folder, 'worker');
  git(folder, 'clone', '--quiet', repository, worker);
  change(worker);
  git(worker, 'update-ref', 'refs/toka/branch', 'HEAD');
  git(worker, 'bundle', 'create', '--quiet', join(folder, 'work.bundle'), 'refs/toka/branch', '^origin/main');
  return readFileSync(join(folder, 'work.bundle'));
}

test('what a repository says to run is not run', async (t) => {
  await using folder = await temporaryFolder();
  const path = (name: string) => join(folder.path, name);
  const [ok, lazy, alternate, elsewhere] = [path('ok'), path('lazy'), path('alternate'), path('elsewhere')];
  makeRepository(ok);
  git(folder.path, 'clone', '--quiet', '--branch=main', ok, elsewhere);
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
