import { existsSync, realpathSync, statSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import type { RepositoryRule } from '#shared/contracts/repository.ts';
import { Failure } from '#shared/errors.ts';
import type { Branches } from '#shared/repository-rules.ts';
import { branchesAt, isUrl, isWhole, placeOf } from '#shared/repository-rules.ts';
import { clip } from '#shared/text.ts';
import { git } from './repository-git.ts';

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
  if (folder.split(sep).includes('.git')) throw invalid(repository, "is a part of git's own: name the folder above");
  return folder;
}

/** Whose repositories are; undefined: that cannot be read. */
export type Ownership = { rules: readonly RepositoryRule[] | undefined; workstream: string };

/**
 * The branches of a repository, a folder without links or a URL, that are the workstream's. Throws where none is: `unavailable` where it
 * cannot be told, for that is mended without the agent.
 */
export function branchesOf(place: string, repository: string, { rules, workstream }: Ownership): Branches {
  if (rules === undefined)
    throw new Failure(
      'unavailable',
      'repository: [[repositories]] in config/agents.toml cannot be read, so nobody can tell whose it is',
    );
  const branches = branchesAt(rules, placeOf(place, realOf), workstream, realOf);
  if (branches.globs.length === 0)
    throw invalid(repository, `is not for the workstream ${JSON.stringify(workstream)}: see [[repositories]]`);
  // A folder within a repository, and git's own within it, hold what is on other branches.
  if (!isWhole(branches) && !isUrl(place) && !existsSync(join(place, '.git')))
    throw invalid(repository, 'has branches that are not for this workstream, so it must be named by its top folder');
  return branches;
}

function realOf(folder: string): string {
  try {
    return realpathSync.native(folder);
  } catch {
    return folder;
  }
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
  const refused = (path: string) =>
    invalid(repository, `has a part of git's that lies outside REPOSITORY_ROOTS or cannot be read: ${clip(path, 300)}`);
  const check = (path: string): string => {
    const real = isReadable(path) ? tryRealpath(path) : undefined;
    if (real === undefined || !isReadable(real) || !isUnder(real, roots)) throw refused(path);
    return real;
  };
  const tell = async (what: string) => check(await git(folder, ['rev-parse', '--path-format=absolute', what]));
  // What is found while it is gone through is gone through, too.
  const open = new Set([await tell('--absolute-git-dir'), await tell('--git-common-dir')]);
  for (const above of open) {
    if (!statSync(above).isDirectory()) continue;
    const entries = await readdir(above, { withFileTypes: true, recursive: true }).catch(() => {
      throw refused(above);
    });
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      if (unread.has(relative(above, path).split(sep)[0])) continue;
      if (entry.isSymbolicLink() || !isReadable(entry.name)) open.add(check(path));
    }
    for (const objects of [above, join(above, 'objects')])
      for (const alternate of await alternatesOf(objects)) open.add(check(alternate));
  }
}

/** What bytes that are no UTF-8 are read as. */
const unreadable = '\ufffd';
/** Whether a path is the same to git as here: another file may have the name as it is read here, and a line break ends an alternate. */
const isReadable = (path: string) => !path.includes(unreadable) && !path.includes('\n');

/** As the system resolves it: a link may lead to bytes that are no UTF-8. */
function tryRealpath(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
}

/** Where else objects are looked for. Git unquotes a line in quotes: nobody writes one but to hide where it leads. */
async function alternatesOf(objects: string): Promise<string[]> {
  const lines = await readFile(join(objects, 'info', 'alternates'), 'utf8').catch(() => '');
  return lines
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => (line.startsWith('"') ? unreadable + line : resolve(objects, line)));
}
