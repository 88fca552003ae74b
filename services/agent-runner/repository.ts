import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Definition } from '#shared/contracts/agent.ts';
import { diskFailure } from '#shared/disk.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Branches } from '#shared/repository-rules.ts';
import { isAmong, isUrl, isWhole } from '#shared/repository-rules.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { git, gitMsMax } from './repository-git.ts';
import type { Ownership } from './repository-roots.ts';
import { branchesOf, checkedFolder, checkedUrl, checkGit, invalid } from './repository-roots.ts';
import { codeOf } from './tools/words.ts';

const filesMax = 50_000;
const notTaken: ReadonlySet<string> = new Set(['.git', 'node_modules', '.toka']);

/** `roots`: what a repository must lie in, folders or beginnings of URLs; `scratch`: a folder for what is in between; sizes in bytes. */
export type Sources = Ownership & { roots: readonly string[]; scratch: string; bytesMax: number };

const scratchPrefix = 'repository-';
/** Far more than git is given. */
const scratchMsMax = 6 * 3_600_000;
const host = hostname().replace(/[^a-zA-Z0-9]/g, '');
/** A container that is started again has the same name and numbers. */
const self = randomBytes(4).toString('hex');

async function makeScratch(above: string): Promise<string> {
  await mkdir(above, { recursive: true, mode: 0o700 });
  return mkdtemp(join(above, `${scratchPrefix}${host}-${process.pid}-${self}-`));
}

/** Removes what runners that died left behind: those of this machine at once, others' when it is old. */
export async function removeLeftovers({ scratch }: Pick<Sources, 'scratch'>): Promise<void> {
  const names = await readdir(scratch).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(scratchPrefix))) {
    const path = join(scratch, name);
    const { mtimeMs } = (await lstat(path).catch(() => undefined)) ?? { mtimeMs: Date.now() };
    if (isOfTheDead(name) || Date.now() - mtimeMs > scratchMsMax) await rm(path, { recursive: true, force: true });
  }
}

function isOfTheDead(name: string): boolean {
  const [, of, pid, who] = /^repository-([a-zA-Z0-9]*)-(\d+)-([0-9a-f]+)-/.exec(name) ?? [];
  if (of !== host) return false;
  if (Number(pid) === process.pid) return who !== self;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return codeOf(error) === 'ESRCH';
  }
}

/** What a workspace begins with: a git bundle that holds `commit`; both null for an empty one. */
export type Base = { commit: string | null; bundle: Buffer | null };

/**
 * An agent's repository as a git bundle: of a git repository its branch, or where there is none of that name the branch that it is
 * on; of any other folder one commit of its files. Throws `invalid` where the agent's definition names one that it may not have,
 * that is not there, or that is too large for a sandbox. The repository itself stays as it is.
 */
export async function fetchRepository(
  { repository, branch }: Pick<Definition, 'repository' | 'branch'>,
  sources: Sources,
): Promise<Base> {
  const { roots, scratch: above, bytesMax } = sources;
  if (repository === undefined) return { commit: null, bundle: null };
  const scratch = await makeScratch(above);
  const bare = join(scratch, 'git');
  try {
    if (isUrl(repository)) {
      const url = checkedUrl(repository, roots);
      const branches = branchesOf(url, repository, sources);
      await git(scratch, ['clone', '--quiet', '--bare', '--no-tags', '--', url, bare], 'https:http:ssh');
      return await bundle(bare, { repository, branch, branches }, scratch, bytesMax);
    }
    const folder = checkedFolder(repository, roots);
    const branches = branchesOf(folder, repository, sources);
    if (existsSync(join(folder, '.git'))) {
      await checkGit(folder, repository, roots);
      return await bundle(folder, { repository, branch, branches }, scratch, bytesMax);
    }
    await importFolder(folder, bare, repository, bytesMax);
    return await bundle(bare, { repository, branch, branches }, scratch, bytesMax);
  } catch (error) {
    throw explain(error, repository, branch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/**
 * Brings a finished branch back to a repository on this machine: its commits and the branch, never a checkout. Answers what was
 * done, or why nothing was.
 */
export async function returnBranch(
  { repository, branch }: Pick<Definition, 'repository' | 'branch'>,
  sources: Sources,
  work: Buffer,
): Promise<string> {
  const { roots, scratch: above } = sources;
  if (repository === undefined) return 'the agent has no repository';
  if (isUrl(repository)) return 'the repository is not on this machine; take the branch from the bundle';
  const folder = checkedFolder(repository, roots);
  try {
    checkBranch(branch, branchesOf(folder, repository, sources));
  } catch (error) {
    if (error instanceof Failure && error.code === 'invalid') return `${error.message}; take it from the bundle`;
    throw error;
  }
  if (!existsSync(join(folder, '.git'))) return 'the folder is no git repository';
  const scratch = await makeScratch(above);
  try {
    await checkGit(folder, repository, roots);
    const file = join(scratch, 'branch.bundle');
    await writeFile(file, work, { mode: 0o600 });
    // Without +, only what continues the branch is taken; git refuses a branch that is checked out somewhere.
    const refspec = `refs/toka/branch:refs/heads/${branch}`;
    const from = await unpackBeside(folder, file, scratch);
    await git(folder, [
      '-c',
      'fetch.fsckObjects=true',
      'fetch',
      '--quiet',
      '--no-tags',
      '--no-write-fetch-head',
      '--no-auto-maintenance',
      '--no-recurse-submodules',
      from,
      refspec,
    ]);
    return `branch "${branch}" is in the repository`;
  } catch (error) {
    return `branch "${branch}" was not put into the repository: ${clip(scrub(saidBy(error)), 300)}`;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** A repository of the bundle's commits alone, over the objects that it builds on: git looks at objects that come from one, not from a bundle. */
async function unpackBeside(folder: string, file: string, scratch: string): Promise<string> {
  const bare = join(scratch, 'git');
  await git(scratch, ['init', '--quiet', '--bare', bare]);
  const objects = await git(folder, ['rev-parse', '--path-format=absolute', '--git-path', 'objects']);
  await writeFile(join(bare, 'objects', 'info', 'alternates'), `${objects}\n`);
  await git(bare, [
    'fetch',
    '--quiet',
    '--no-tags',
    '--no-write-fetch-head',
    file,
    'refs/toka/branch:refs/toka/branch',
  ]);
  return bare;
}

/** Throws `invalid` where a branch is not the workstream's. */
function checkBranch(branch: string, branches: Branches): void {
  if (!isAmong(branches, branch))
    throw new Failure(
      'invalid',
      `branch: ${JSON.stringify(branch)} is not the workstream's in this repository; it takes ${branches.globs.join(', ')}`,
    );
}

type Wanted = { repository: string; branch: string; branches: Branches };

async function bundle(folder: string, wanted: Wanted, scratch: string, bytesMax: number): Promise<Base> {
  const { branch, branches } = wanted;
  checkBranch(branch, branches);
  // What git reads as more than a name, such as "mine@{upstream}", leads to other branches.
  await git(folder, ['check-ref-format', `refs/heads/${branch}`]).catch(() => {
    throw new Failure('invalid', `branch: ${JSON.stringify(branch)} is no name that git gives to a branch`);
  });
  const known = async (ref: string) => {
    const found = await git(folder, ['rev-parse', '--verify', '--quiet', `${ref}^{commit}`]).catch(() => '');
    return found === '' ? undefined : { ref, commit: found };
  };
  const own = (await known(`refs/heads/${branch}`)) ?? (await known(`refs/remotes/origin/${branch}`));
  if (!own && !isWhole(branches)) await checkHead(folder, wanted);
  const from = own ?? (await known('HEAD'));
  if (!from) return { commit: null, bundle: null };
  const file = join(scratch, 'base.bundle');
  // One thread makes the same bytes each time, which are then kept once.
  await git(folder, ['-c', 'pack.threads=1', 'bundle', 'create', '--quiet', file, from.ref]);
  const { size } = await stat(file);
  if (size > bytesMax) throw tooLarge(`${size} bytes as a bundle`, bytesMax);
  return { commit: from.commit, bundle: await readFile(file) };
}

/** A new branch begins where the repository stands: that must be the workstream's, too. */
async function checkHead(folder: string, { repository, branch, branches }: Wanted): Promise<void> {
  const head = await git(folder, ['symbolic-ref', '--quiet', 'HEAD']).catch(() => '');
  if (isAmong(branches, head.replace(/^refs\/heads\//, '')) && head !== '') return;
  throw invalid(
    repository,
    `has no branch ${JSON.stringify(branch)}, and stands on one that is not for this workstream: make the branch there first`,
  );
}

const tooLarge = (what: string, bytesMax: number) =>
  new Failure('invalid', `repository: it has ${what}, and a workspace takes ${bytesMax} bytes (MAX_DISK_PER_AGENT)`);

/** One commit of a folder's files, in a repository beside it: the same files make the same commit. */
async function importFolder(folder: string, bare: string, repository: string, bytesMax: number): Promise<void> {
  await measure(folder, repository, bytesMax);
  await git(folder, ['init', '--quiet', '--bare', '--initial-branch=main', bare]);
  const work = (args: readonly string[]) => git(folder, [`--git-dir=${bare}`, `--work-tree=${folder}`, ...args]);
  const left = [...notTaken].map((name) => `:(exclude,glob)**/${name}/**`);
  await work(['add', '--all', '--force', '--', '.', ...left]);
  const tree = await work(['write-tree']);
  const commit = await work(['commit-tree', tree, '-m', 'The folder as it was']);
  await work(['update-ref', 'refs/heads/main', commit]);
}

/** Throws where a folder is more than a workspace takes. */
async function measure(folder: string, repository: string, bytesMax: number): Promise<void> {
  let files = 0;
  let bytes = 0;
  const look = async (path: string): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true })) {
      if (notTaken.has(entry.name)) continue;
      const inner = join(path, entry.name);
      if (entry.isDirectory()) await look(inner);
      else if (entry.isFile()) {
        files += 1;
        bytes += (await lstat(inner)).size;
      }
      if (files > filesMax) throw invalid(repository, `holds more than ${filesMax} files: name a smaller folder`);
      if (bytes > bytesMax) throw tooLarge(`more than ${bytesMax} bytes`, bytesMax);
    }
  };
  await look(folder);
}

function explain(error: unknown, repository: string, branch: string): Error {
  if (error instanceof Failure) return error;
  const disk = diskFailure(error, 'the repository could not be copied');
  if (disk) return disk;
  if (/No space left on device|Read-only file system|Disk quota exceeded/.test(saidBy(error)))
    return new Failure('disk-full', `the repository could not be copied: ${clip(scrub(saidBy(error)), 300)}`);
  if (codeOf(error) === 'ENOENT') return invalid(repository, 'needs git, which is not installed');
  if (error instanceof Error && 'killed' in error && error.killed)
    return new Failure('timeout', `repository: git took longer than ${gitMsMax / 1000} s`);
  return invalid(repository, `could not be read on branch "${branch}": ${clip(scrub(saidBy(error)), 500)}`);
}

const saidBy = (error: unknown) =>
  (error instanceof Error && 'stderr' in error ? String(error.stderr) : messageOf(error)).trim();
