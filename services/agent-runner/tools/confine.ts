import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { Failure } from '#shared/errors.ts';
import { codeOf, quote } from './words.ts';

// Checking a path and then opening it by its name loses to whoever swaps a folder for a link in between. So a path is only
// resolved once, to plain names; the way down is then gone name by name, each opened relative to the folder before it and
// never through a link. Linux lets an open folder be addressed as /proc/self/fd/N. Elsewhere names are joined as usual, and
// a folder that is swapped in the middle goes unnoticed.
const descriptors = '/proc/self/fd';
const hasDescriptors = existsSync(descriptors);
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
const nameBytesMax = 255;
const pathBytesMax = 4096;

/** An open folder of the workspace, and how to address what lies directly in it. */
export type Folder = { path: string; at(name?: string): string; [Symbol.dispose](): void };
export type OpenFile = { fd: number; size: number; [Symbol.dispose](): void };

/** Opens the workspace itself, by its real path. */
export const openRoot = (path: string): Folder => openAt(realpathSync.native(path), realpathSync.native(path));

function openAt(address: string, path: string): Folder {
  const fd = openSync(address, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  const here = hasDescriptors ? `${descriptors}/${fd}` : path;
  return {
    path,
    // "N" itself is a link to the folder, which O_NOFOLLOW refuses.
    at: (name) => `${here}/${name === undefined ? '.' : single(name)}`,
    [Symbol.dispose]: () => closeSync(fd),
  };
}

/** Only one plain name may follow an open folder's address: `N/..` would be its parent. */
function single(name: string): string {
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0'))
    throw new Error('a name was expected, not a path');
  return name;
}

/** Opens a folder that lies directly in another; never through a link. */
export const enter = (folder: Folder, name: string): Folder => openAt(folder.at(name), join(folder.path, name));

/** What a path that a model wrote means: the plain names that lead from the workspace to it. Throws `invalid` for one that leads out. */
export function locate(root: Folder, asked: string): string[] {
  checkNames(asked);
  const wanted = resolve(root.path, asked);
  if (!isWithin(root.path, wanted)) throw outside(asked);
  const missing: string[] = [];
  for (let existing = wanted; ; existing = dirname(existing)) {
    const real = realPath(existing, asked);
    if (real !== undefined) {
      if (!isWithin(root.path, real)) throw leadsOut(asked);
      return relative(root.path, join(real, ...missing))
        .split(sep)
        .filter((name) => name !== '');
    }
    missing.unshift(basename(existing));
  }
}

function realPath(path: string, asked: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'ELOOP') throw leadsOut(asked);
    if (code !== 'ENOENT') throw error;
    if (lstatSync(path, { throwIfNoEntry: false })) throw leadsOut(asked);
    return undefined;
  }
}

function checkNames(asked: string): void {
  const refuse = (what: string) => new Failure('invalid', `the path ${quote(asked)} ${what}`);
  if (/\p{Cc}/u.test(asked)) throw refuse('holds a control character; write the name without it');
  if (Buffer.byteLength(asked) > pathBytesMax) throw refuse(`is longer than ${pathBytesMax} bytes`);
  if (asked.split('/').some((name) => Buffer.byteLength(name) > nameBytesMax))
    throw refuse(`holds a name that is longer than ${nameBytesMax} bytes; shorten it`);
}

const isWithin = (root: string, path: string) => {
  const way = relative(root, path);
  return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way));
};

const outside = (asked: string) =>
  new Failure(
    'invalid',
    `${quote(asked)} is outside the workspace; give a path relative to the workspace, such as README.md`,
  );
// One text for both, so that nobody learns from it what exists on the host.
const leadsOut = (asked: string) =>
  new Failure(
    'invalid',
    `${quote(asked)} is or goes through a symbolic link that leads out of the workspace or nowhere`,
  );

/** Goes down from the workspace to a folder. With `make`, folders that are missing are made. */
export function openFolder(root: Folder, names: readonly string[], { make = false } = {}): Folder {
  let folder = openAt(root.at(), root.path);
  for (const name of names) {
    using above = folder;
    if (make && !lstatSync(above.at(name), { throwIfNoEntry: false })) mkdirSync(above.at(name), { mode: 0o755 });
    folder = enter(above, name);
  }
  return folder;
}

/** Opens a file that lies directly in a folder, for reading: a regular one with one name only, and never through a link. */
export function openFile(folder: Folder, name: string, shown: string): OpenFile {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
  const fd = openSync(folder.at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) throw new Failure('invalid', `${quote(shown)} is a folder; see it with list_files`);
    if (!stat.isFile()) throw new Failure('invalid', `${quote(shown)} is not a regular file`);
    // A second name may be a file of the host's: nothing that makes a workspace leaves hard links in it.
    if (stat.nlink > 1) throw new Failure('invalid', `${quote(shown)} has a second name elsewhere (a hard link)`);
    return { fd, size: stat.size, [Symbol.dispose]: () => closeSync(fd) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Makes or replaces a file, whole or not at all. */
export function replaceFile(folder: Folder, name: string, bytes: Uint8Array, shown: string): void {
  const target = folder.at(name);
  const old = lstatSync(target, { throwIfNoEntry: false });
  if (old?.isDirectory()) throw new Failure('invalid', `${quote(shown)} is a folder; choose another name`);
  if (old && !old.isFile()) throw new Failure('invalid', `${quote(shown)} is not a regular file`);
  const partial = folder.at(`.toka-partial-${randomBytes(6).toString('hex')}`);
  const fd = openSync(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, old ? old.mode & 0o777 : 0o644);
  try {
    try {
      writeFileSync(fd, bytes);
    } finally {
      closeSync(fd);
    }
    renameSync(partial, target); // replaces a link that was put there meanwhile; never follows it
  } catch (error) {
    rmSync(partial, { force: true });
    throw error;
  }
}
