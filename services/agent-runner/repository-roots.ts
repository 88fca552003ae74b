import { realpathSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import { git } from './repository-git.ts';

export const isUrl = (repository: string) => /^[a-z][a-z0-9+.-]*:\/\//i.test(repository);
export const invalid = (repository: string, what: string) =>
  new Failure('invalid', `repository: ${JSON.stringify(clip(repository, 300))} ${what}`);

/** Throws `invalid` where a URL is none that git is given. */
export function checkedUrl(repository: string, roots: readonly string[]): string {
  const url = URL.parse(repository);
  if (!url || !['https:', 'http:', 'ssh:'].includes(url.protocol))
    throw invalid(repository, 'is not an https, http or ssh URL that can be read');
  if (url.password !== '') throw invalid('(a URL)', 'holds a password; give git credentials by ssh, not here');
  const isUnder = (root: string) => url.href.startsWith(root.endsWith('/') ? root : `${root}/`);
  if (!roots.filter(isUrl).some(isUnder))
    throw invalid(repository, 'lies under none of REPOSITORY_ROOTS; add its beginning there');
  return url.href;
}

/** The path of a folder without links. Throws `invalid` where it is not there or outside the roots. */
export function checkedFolder(repository: string, roots: readonly string[]): string {
  let folder: string;
  try {
    folder = realpathSync(resolve(repository));
  } catch {
    throw invalid(repository, 'is not there, or this runner may not read it');
  }
  if (!isUnder(folder, roots)) throw invalid(repository, 'lies outside REPOSITORY_ROOTS; add its folder there');
  return folder;
}

/** Whether a path, which has no links in it, lies in one of the folders. */
function isUnder(path: string, roots: readonly string[]): boolean {
  const folders = roots.map((root) => root.trim()).filter((root) => root !== '' && !isUrl(root));
  return folders.some((root) => {
    try {
      const way = relative(realpathSync(resolve(root)), path);
      return way === '' || (way !== '..' && !way.startsWith(`..${sep}`));
    } catch {
      return false;
    }
  });
}

/** What git does not read here, and where people have links to anywhere. */
const unread: ReadonlySet<string | undefined> = new Set(['hooks', 'modules']);

/** Throws where a repository keeps its objects, or anything of its own, outside the roots: git follows links and alternates to anywhere. */
export async function checkGit(folder: string, repository: string, roots: readonly string[]): Promise<void> {
  const check = (path: string): string => {
    const real = tryRealpath(path);
    if (real === undefined || !isUnder(real, roots))
      throw invalid(repository, `has a part of git's that lies outside REPOSITORY_ROOTS: ${clip(path, 300)}`);
    return real;
  };
  const told = await git(folder, ['rev-parse', '--path-format=absolute', '--absolute-git-dir', '--git-common-dir']);
  // What is found while it is gone through is gone through, too.
  const open = new Set(told.split('\n').map(check));
  for (const above of open) {
    if (!statSync(above).isDirectory()) continue;
    for (const entry of await readdir(above, { withFileTypes: true, recursive: true })) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isSymbolicLink() && !unread.has(relative(above, path).split(sep)[0])) open.add(check(path));
    }
    for (const objects of [above, join(above, 'objects')])
      for (const alternate of await alternatesOf(objects)) open.add(check(alternate));
  }
}

function tryRealpath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

async function alternatesOf(objects: string): Promise<string[]> {
  const lines = await readFile(join(objects, 'info', 'alternates'), 'utf8').catch(() => '');
  return lines
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => resolve(objects, line));
}
