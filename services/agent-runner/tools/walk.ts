import type { Dirent } from 'node:fs';
import { lstatSync, readdirSync } from 'node:fs';
import type { Folder } from './confine.ts';
import { enter } from './confine.ts';
import { codeOf } from './words.ts';

const depthMax = 64;
const skipped: ReadonlySet<string> = new Set(['.git', 'node_modules']);

/** Something in a folder: `path` is relative to the workspace. */
export type Entry = {
  path: string;
  name: string;
  folder: Folder;
  kind: 'file' | 'folder' | 'link' | 'other';
  size: number;
};

/** What lies in a folder, sorted by path, links not followed; with `deep`, also what lies in its folders, but for .git and node_modules. */
export function* walk(folder: Folder, prefix: string, deep: boolean, depth = 1): Generator<Entry> {
  const entries = readdirSync(folder.at(), { withFileTypes: true })
    .map((entry) => ({
      name: entry.name,
      kind: kindOf(entry),
      key: entry.isDirectory() ? `${entry.name}/` : entry.name,
    }))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { name, kind } of entries) {
    if (deep && skipped.has(name)) continue;
    const path = `${prefix}${name}`;
    const stat = lstatSync(folder.at(name), { throwIfNoEntry: false });
    if (!stat) continue;
    yield { path, name, folder, kind, size: stat.size };
    if (!deep || kind !== 'folder' || depth >= depthMax) continue;
    const inner = tryEnter(folder, name);
    if (!inner) continue;
    using below = inner;
    yield* walk(below, `${path}/`, deep, depth + 1);
  }
}

/** A folder that may not be read, or that was swapped or removed meanwhile, is passed over. */
function tryEnter(folder: Folder, name: string): Folder | undefined {
  try {
    return enter(folder, name);
  } catch (error) {
    if (codeOf(error) === undefined) throw error;
    return undefined;
  }
}

function kindOf(entry: Dirent): Entry['kind'] {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'folder';
  return entry.isSymbolicLink() ? 'link' : 'other';
}
