import { execFile } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { cp, lstat } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Failure, messageOf } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { codeOf } from './tools/words.ts';

const gitConfig = fileURLToPath(new URL('gitconfig', import.meta.url));
const gitMsMax = 300_000;
const copiedFilesMax = 50_000;
const copiedBytesMax = 1024 ** 3;
const notCopied: ReadonlySet<string> = new Set(['.git', 'node_modules', '.toka']);

/**
 * Puts an agent's repository into the empty folder `target`: a git repository as a clone of its own, without a way back, on `branch`;
 * any other folder as a copy. Throws `invalid` where the agent's definition names one that it may not have, or that is not there.
 */
export async function fetchRepository(
  repository: string,
  branch: string,
  roots: readonly string[],
  target: string,
): Promise<void> {
  if (isUrl(repository)) return clone(checkedUrl(repository, roots), branch, target, repository);
  const folder = checkedFolder(repository, roots);
  if (!existsSync(join(folder, '.git'))) return copy(folder, target, repository);
  await clone(folder, branch, target, repository);
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

async function clone(source: string, branch: string, target: string, repository: string): Promise<void> {
  const git = async (...args: string[]) => (await runGit(target, args)).trim();
  try {
    await git('clone', '--quiet', '--no-hardlinks', '--no-checkout', '--no-recurse-submodules', '--', source, '.');
    const known = await git('branch', '--remotes', '--format=%(refname)', '--list', `origin/${branch}`);
    const unborn = (await git('rev-list', '--max-count=1', '--all')) === '';
    if (unborn) await git('symbolic-ref', 'HEAD', `refs/heads/${branch}`);
    else
      await git('checkout', '--quiet', '--force', '-B', branch, ...(known ? ['--no-track', `origin/${branch}`] : []));
    await git('remote', 'remove', 'origin');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw invalid(repository, 'is a git repository, and git is not installed');
    if (error instanceof Error && 'killed' in error && error.killed)
      throw new Failure('timeout', `repository: git took longer than ${gitMsMax / 1000} s`);
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : messageOf(error);
    throw invalid(repository, `could not be cloned on branch "${branch}": ${clip(scrub(said.trim()), 500)}`);
  }
}

async function runGit(cwd: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)('git', args, {
    cwd,
    timeout: gitMsMax,
    killSignal: 'SIGKILL',
    maxBuffer: 10 * 1024 ** 2,
    env: {
      PATH: pathOf(),
      GIT_CONFIG_GLOBAL: gitConfig,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_CEILING_DIRECTORIES: cwd,
      GIT_LFS_SKIP_SMUDGE: '1',
    },
  });
  return stdout;
}

/** Where programs are: a fixed list, for git is asked to work on what strangers wrote. */
const pathOf = () => ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin'].join(':');

async function copy(folder: string, target: string, repository: string): Promise<void> {
  let files = 0;
  let bytes = 0;
  await cp(folder, target, {
    recursive: true,
    verbatimSymlinks: true,
    async filter(source) {
      if (source !== folder && notCopied.has(basename(source))) return false;
      const stat = await lstat(source);
      if (!stat.isFile() && !stat.isDirectory() && !stat.isSymbolicLink()) return false;
      files += 1;
      bytes += stat.size;
      if (files > copiedFilesMax || bytes > copiedBytesMax)
        throw invalid(repository, `holds more than ${copiedFilesMax} files or 1 GiB: name a smaller folder`);
      return true;
    },
  });
}
