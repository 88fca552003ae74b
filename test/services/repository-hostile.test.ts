import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
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

/** Makes a path to where git keeps a repository, as the repository's own `.git` says it. */
function moveGit(repository: string, to: string): void {
  mkdirSync(join(to, '..'), { recursive: true });
  renameSync(join(repository, '.git'), to);
  writeFileSync(join(repository, '.git'), `gitdir: ${to}\n`);
}

test('a way out of the roots is found however it is written', async (t) => {
  await using folder = await temporaryFolder();
  await using outside = await temporaryFolder();
  const secret = join(outside.path, 'secret');
  makeRepository(secret);
  const objects = join(secret, '.git', 'objects');
  const commit = git(secret, 'commit-tree', 'HEAD^{tree}', '-m', 'secret');
  const alternate = (git: string, line: string | Buffer) => writeFileSync(join(git, 'objects/info/alternates'), line);
  const bytes = (...parts: (string | number)[]) =>
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))));
  /** Each way has something within the roots where a careless reader would take it to lead. */
  const ways: Record<string, (repository: string) => void> = {
    quotes(path) {
      mkdirSync(join(path, '.git/objects', `"${objects}"`), { recursive: true });
      alternate(join(path, '.git'), `"${objects}"\n`);
    },
    name(path) {
      const link = bytes(path, '/.git/objects/', 0xff);
      mkdirSync(join(path, '.git/objects/\ufffd'));
      symlinkSync(objects, link);
      alternate(join(path, '.git'), bytes(link.subarray(0, -1).toString(), 0xff, '\n'));
    },
    target(path) {
      mkdirSync(join(path, 'empty'));
      symlinkSync('empty', join(path, '\ufffd'));
      symlinkSync(objects, bytes(path, '/', 0xff));
      symlinkSync(bytes('../../', 0xff), join(path, '.git/objects/other'));
      alternate(join(path, '.git'), 'other\n');
    },
    break(path) {
      for (const name of ['A', 'B']) mkdirSync(join(folder.path, name));
      const to = `${folder.path}/A\n${folder.path}/B`;
      moveGit(path, to);
      alternate(to, `${objects}\n`);
    },
    space(path) {
      mkdirSync(join(folder.path, 'S'));
      const to = join(folder.path, 'S ');
      moveGit(path, to);
      alternate(to, `${objects}\n`);
    },
  };
  for (const [name, change] of Object.entries(ways)) {
    const repository = join(folder.path, name);
    makeRepository(repository);
    change(repository);
    git(repository, 'branch', 'foreign', commit);
    await t.throwsAsync(
      fetchRepository({ repository, branch: 'foreign' }, sources(folder.path)),
      { code: 'invalid', message: /lies outside REPOSITORY_ROOTS or cannot be read/ },
      name,
    );
  }
});

/** A list of a repository's packs that says of its only pack that it lies elsewhere. */
function packsElsewhere(list: Buffer, folder: string): Buffer {
  const chunks = Array.from({ length: list[6] ?? 0 }, (_, index) => {
    const at = 12 + 12 * index;
    const bytes = list.subarray(Number(list.readBigUInt64BE(at + 4)), Number(list.readBigUInt64BE(at + 16)));
    const id = list.subarray(at, at + 4);
    if (id.toString() !== 'PNAM') return { id, bytes };
    const name = Buffer.from(`${folder}/${bytes.toString().replaceAll('\0', '')}\0`);
    return { id, bytes: Buffer.concat([name, Buffer.alloc((4 - (name.length % 4)) % 4)]) };
  });
  let at = 12 + 12 * (chunks.length + 1);
  const entries = [...chunks, { id: Buffer.alloc(4), bytes: Buffer.alloc(0) }].map(({ id, bytes }) => {
    const place = Buffer.alloc(8);
    place.writeBigUInt64BE(BigInt(at));
    at += bytes.length;
    return Buffer.concat([id, place]);
  });
  const all = Buffer.concat([list.subarray(0, 12), ...entries, ...chunks.map(({ bytes }) => bytes)]);
  return Buffer.concat([all, createHash('sha1').update(all).digest()]);
}

test('packs that a repository says lie elsewhere are not read', async (t) => {
  await using folder = await temporaryFolder();
  await using outside = await temporaryFolder();
  const [secret, repository] = [join(outside.path, 'secret'), join(folder.path, 'project')];
  makeRepository(secret);
  makeRepository(repository);
  git(secret, 'commit', '--quiet', '--allow-empty', '-m', 'secret');
  git(secret, 'repack', '-a', '-d', '--quiet');
  git(secret, 'multi-pack-index', 'write');
  const packs = join(secret, '.git/objects/pack');
  const here = join(repository, '.git/objects/pack');
  const list = packsElsewhere(readFileSync(join(packs, 'multi-pack-index')), relative(here, packs));
  writeFileSync(join(here, 'multi-pack-index'), list);
  const commit = git(secret, 'rev-parse', 'HEAD');
  git(repository, 'branch', 'foreign', commit);
  t.is(git(repository, 'log', '-1', '--format=%s', 'foreign'), 'secret', 'git itself reads them');
  const base = await fetchRepository({ repository, branch: 'foreign' }, sources(folder.path));
  t.is(base.commit, git(repository, 'rev-parse', 'main'));
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
