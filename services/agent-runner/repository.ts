import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Definition } from '#shared/contracts/agent.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { codeOf } from './tools/words.ts';

const gitConfig = fileURLToPath(new URL('gitconfig', import.meta.url));
const gitMsMax = 300_000;
const filesMax = 50_000;
const notTaken: ReadonlySet<string> = new Set(['.git', 'node_modules', '.toka']);

/** `roots`: what a repository must lie in, folders or beginnings of URLs; `scratch`: a folder for what is in between; sizes in bytes. */
export type Sources = { roots: readonly string[]; scratch: string; bytesMax: number };

const scratchPrefix = 'repository-';

async function makeScratch(above: string): Promise<string> {
  await mkdir(above, { recursive: true, mode: 0o700 });
  return mkdtemp(join(above, scratchPrefix));
}

/** Removes what a runner that died left behind. */
export async function removeLeftovers({ scratch }: Pick<Sources, 'scratch'>): Promise<void> {
  const names = await readdir(scratch).catch(() => []);
  const left = names.filter((name) => name.startsWith(scratchPrefix));
  await Promise.all(left.map((name) => rm(join(scratch, name), { recursive: true, force: true })));
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
  { roots, scratch: above, bytesMax }: Sources,
): Promise<Base> {
  if (repository === undefined) return { commit: null, bundle: null };
  const scratch = await makeScratch(above);
  const bare = join(scratch, 'git');
  try {
    if (isUrl(repository)) {
      await git(scratch, ['clone', '--quiet', '--bare', '--no-tags', '--', checkedUrl(repository, roots), bare]);
      return await bundle(bare, branch, scratch, bytesMax);
    }
    const folder = checkedFolder(repository, roots);
    if (existsSync(join(folder, '.git'))) return await bundle(folder, branch, scratch, bytesMax);
    await importFolder(folder, bare, repository, bytesMax);
    return await bundle(bare, branch, scratch, bytesMax);
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
  { roots, scratch: above }: Sources,
  work: Buffer,
): Promise<string> {
  if (repository === undefined) return 'the agent has no repository';
  if (isUrl(repository)) return 'the repository is not on this machine; take the branch from the bundle';
  const folder = checkedFolder(repository, roots);
  if (!existsSync(join(folder, '.git'))) return 'the folder is no git repository';
  const scratch = await makeScratch(above);
  try {
    const file = join(scratch, 'branch.bundle');
    await writeFile(file, work, { mode: 0o600 });
    // Without +, only what continues the branch is taken; git refuses a branch that is checked out somewhere.
    const refspec = `refs/toka/branch:refs/heads/${branch}`;
    await git(folder, [
      'fetch',
      '--quiet',
      '--no-tags',
      '--no-write-fetch-head',
      '--no-recurse-submodules',
      file,
      refspec,
    ]);
    return `branch "${branch}" is in the repository`;
  } catch (error) {
    return `branch "${branch}" was not put into the repository: ${clip(scrub(saidBy(error)), 300)}`;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const isUrl = (repository: string) => /^[a-z][a-z0-9+.-]*:\/\//i.test(repository);
const invalid = (repository: string, what: string) =>
  new Failure('invalid', `repository: ${JSON.stringify(clip(repository, 300))} ${what}`);

function checkedUrl(repository: string, roots: readonly string[]): string {
  const url = URL.parse(repository);
  if (!url || !['https:', 'http:', 'ssh:'].includes(url.protocol))
    throw invalid(repository, 'is not an https, http or ssh URL that can be read');
  if (url.password !== '') throw invalid('(a URL)', 'holds a password; give git credentials by ssh, not here');
  const isUnder = (root: string) => url.href.startsWith(root.endsWith('/') ? root : `${root}/`);
  if (!roots.filter(isUrl).some(isUnder))
    throw invalid(repository, 'lies under none of REPOSITORY_ROOTS; add its beginning there');
  return url.href;
}

function checkedFolder(repository: string, roots: readonly string[]): string {
  let folder: string;
  try {
    folder = realpathSync(resolve(repository));
  } catch {
    throw invalid(repository, 'is not there, or this runner may not read it');
  }
  const isUnder = (root: string) => {
    try {
      const way = relative(realpathSync(resolve(root)), folder);
      return way === '' || (way !== '..' && !way.startsWith(`..${sep}`));
    } catch {
      return false;
    }
  };
  const folders = roots.map((root) => root.trim()).filter((root) => root !== '' && !isUrl(root));
  if (!folders.some(isUnder)) throw invalid(repository, 'lies outside REPOSITORY_ROOTS; add its folder there');
  return folder;
}

async function bundle(repository: string, branch: string, scratch: string, bytesMax: number): Promise<Base> {
  const known = async (ref: string) => {
    const found = await git(repository, ['rev-parse', '--verify', '--quiet', `${ref}^{commit}`]).catch(() => '');
    return found === '' ? undefined : { ref, commit: found };
  };
  const from =
    (await known(`refs/heads/${branch}`)) ?? (await known(`refs/remotes/origin/${branch}`)) ?? (await known('HEAD'));
  if (!from) return { commit: null, bundle: null };
  const file = join(scratch, 'base.bundle');
  // One thread makes the same bytes each time, which are then kept once.
  await git(repository, ['-c', 'pack.threads=1', 'bundle', 'create', '--quiet', file, from.ref]);
  const { size } = await stat(file);
  if (size > bytesMax) throw tooLarge(`${size} bytes as a bundle`, bytesMax);
  return { commit: from.commit, bundle: await readFile(file) };
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
  if (codeOf(error) === 'ENOENT') return invalid(repository, 'needs git, which is not installed');
  if (error instanceof Error && 'killed' in error && error.killed)
    return new Failure('timeout', `repository: git took longer than ${gitMsMax / 1000} s`);
  return invalid(repository, `could not be read on branch "${branch}": ${clip(scrub(saidBy(error)), 500)}`);
}

const saidBy = (error: unknown) =>
  (error instanceof Error && 'stderr' in error ? String(error.stderr) : messageOf(error)).trim();

async function git(cwd: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(
    'git',
    ['-c', 'core.hooksPath=/dev/null', '-c', 'core.fsmonitor=false', ...args],
    {
      cwd,
      timeout: gitMsMax,
      killSignal: 'SIGKILL',
      maxBuffer: 10 * 1024 ** 2,
      env: {
        PATH: pathOf(),
        GIT_CONFIG_GLOBAL: gitConfig,
        GIT_CONFIG_NOSYSTEM: '1',
        GIT_TERMINAL_PROMPT: '0',
        GIT_LFS_SKIP_SMUDGE: '1',
        ...identity,
      },
    },
  );
  return stdout.trim();
}

const identity = Object.fromEntries(
  ['AUTHOR', 'COMMITTER'].flatMap((who) => [
    [`GIT_${who}_NAME`, 'Toka'],
    [`GIT_${who}_EMAIL`, 'toka@toka.invalid'],
    [`GIT_${who}_DATE`, '2000-01-01T00:00:00Z'],
  ]),
);

/** Where programs are: a fixed list, for git is asked to work on what strangers wrote. */
const pathOf = () => ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin'].join(':');
