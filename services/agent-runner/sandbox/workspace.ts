import { chmodSync, globSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Git } from './git.ts';
import { emptyTree, openGit } from './git.ts';
import type { Processes } from './processes.ts';
import type { Closed } from './protocol.ts';

// Inside the sandbox: the workspace is a git repository. Its snapshots lie on a reference of Toka's own, made with an index of Toka's
// own, so that the agent's branch and index hold what the agent did and nothing else. Ignored files are in no snapshot.

const filesMax = 200;
const snapshotRef = 'refs/toka/snapshot';

export type Workspace = ReturnType<typeof openWorkspace>;

/** `scratch`: a folder beside the workspace, for Toka's own index and bundles on their way. */
export function openWorkspace(folder: string, scratch: string, processes: Processes, author: string, branch: string) {
  const git = openGit(folder, scratch, processes, author);
  const own = { GIT_INDEX_FILE: join(scratch, '.toka-index') };
  let base: string | null = null;
  let last: { commit: string; tree: string; parent: string } | null = null;
  const isSaved = async (tree: string, parent: string) =>
    last
      ? last.tree === tree && last.parent === parent
      : parent === (base ?? '') && tree === (await git.treeOf(parent));

  return {
    identity: git.identity,
    /**
     * Makes the repository anew, from a bundle that holds `commit`, or empty. `again`: over what is there, of which ignored files stay;
     * settings, hooks and the home of commands do not.
     */
    async begin(commit: string | null, bundle: Buffer | null, again = false): Promise<void> {
      mkdirSync(folder, { recursive: true });
      if (again) await clear(processes, scratch);
      for (const name of again ? ['.git'] : readdirSync(folder)) await remove(processes, join(folder, name));
      await git.run(['init', '--quiet', `--initial-branch=${branch}`]);
      base = commit;
      last = null;
      if (commit !== null && bundle !== null) {
        await git.unbundle(bundle, 'refs/toka/base');
        await git.run(['checkout', '--quiet', '--force', '-B', branch, commit]);
      }
    },
    /** Takes in a snapshot; it counts once `restore` has been called. */
    take: (bundle: Buffer) => git.unbundle(bundle, snapshotRef),
    /** Brings the files to the last snapshot, and the branch to the commit on which it was made; without one, to the base. */
    async restore(): Promise<void> {
      const commit = await git.find(snapshotRef);
      if (commit === null) return void (await git.run(['clean', '--quiet', '-ffd']));
      const tree = await git.treeOf(commit);
      const parent = await git.find(`${commit}^1`);
      if (parent !== null) await git.run(['checkout', '--quiet', '--force', '-B', branch, parent]);
      await git.run(['read-tree', '--reset', '-u', tree]);
      await git.run(['clean', '--quiet', '-ffd']);
      if (parent === null) await git.run(['read-tree', '--empty']);
      else await git.run(['reset', '--quiet', '--mixed', parent]);
      last = { commit, tree, parent: parent ?? '' };
    },
    /** Saves the files as they are; null: nothing is new since the last time. */
    async snapshot(): Promise<{ commit: string; bundle: string } | null> {
      await git.run(['add', '--all', '--', '.'], own);
      const tree = await git.run(['write-tree'], own);
      const parent = (await git.find('HEAD')) ?? '';
      if (await isSaved(tree, parent)) return null;
      const commit = await git.run(['commit-tree', tree, '-m', 'snapshot', ...(parent ? ['-p', parent] : [])]);
      await git.run(['update-ref', snapshotRef, commit]);
      const bundle = await git.bundle('.toka-snapshot', snapshotRef, [last?.commit, base]);
      last = { commit, tree, parent };
      return { commit, bundle };
    },
    close: (message: string, globs: readonly string[]) => close(git, folder, base, message, globs),
    /** The whole change as a patch, in a file. */
    async diff(): Promise<string> {
      const file = join(scratch, '.toka-diff');
      const range = [base ?? emptyTree, 'HEAD'];
      await git.run(['diff', '--no-ext-diff', '--no-textconv', '--binary', `--output=${file}`, ...range]);
      return file;
    },
    /** The branch as a bundle that builds on the base, in a file. */
    async bundle(): Promise<string> {
      await git.run(['update-ref', 'refs/toka/branch', 'HEAD']);
      return git.bundle('.toka-branch', 'refs/toka/branch', [base]);
    },
  };
}

const clearMsMax = 60_000;

/** Removes from this file system, not from what is mounted on it; folders first get the rights to look into them. */
const clearing =
  'find . -xdev -type d ! -perm -700 -exec chmod u+rwx {} ";"; find . -xdev -mindepth 1 -delete 2>&1 | head -n 3';

/** Empties a folder, whatever rights commands have given to what is in it. */
async function clear(processes: Processes, folder: string): Promise<void> {
  chmodSync(folder, 0o700);
  const { output } = await processes.run(['sh', '-c', clearing], { timeoutMs: clearMsMax, cwd: folder });
  if (!isCleared(folder, lstatSync(folder).dev))
    throw new Failure('invalid', `${folder} could not be emptied: ${clip(output.trim(), 300)}`);
}

/** Whether a folder has no more in it than what is mounted there, as Toka's own code is where that lies in /tmp, and the way to it. */
function isCleared(folder: string, dev: number): boolean {
  return readdirSync(folder).every((name) => {
    const path = join(folder, name);
    const found = lstatSync(path);
    return found.dev !== dev || (found.isDirectory() && readdirSync(path).length > 0 && isCleared(path, dev));
  });
}

async function remove(processes: Processes, path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) await clear(processes, path);
  rmSync(path, { recursive: true, force: true });
}

/** Commits what the agent left uncommitted, and tells what there is. */
async function close(
  git: Git,
  folder: string,
  base: string | null,
  message: string,
  globs: readonly string[],
): Promise<Closed> {
  if ((await git.run(['status', '--porcelain'])) !== '') {
    await git.run(['add', '--all', '--', '.']);
    await git.run(['commit', '--quiet', '--no-verify', '--allow-empty', '-m', message]);
  }
  const head = await git.find('HEAD');
  const range = head === null ? null : base === null ? head : `${base}..${head}`;
  const commits = range === null ? 0 : Number(await git.run(['rev-list', '--count', range]));
  const changed = head !== null && (await git.treeOf(head)) !== (await git.treeOf(base ?? ''));
  return { head, commits, changed, files: find(folder, globs) };
}

/** Regular files by glob; what a glob finds outside the workspace is none of it. */
function find(folder: string, globs: readonly string[]): Closed['files'] {
  const found = new Map<string, number>();
  for (const path of globSync([...globs], { cwd: folder, exclude: ['.git/**', '**/node_modules/**'] })) {
    if (found.size >= filesMax) break;
    const stat = lstatSync(join(folder, path), { throwIfNoEntry: false });
    if (stat?.isFile()) found.set(path, stat.size);
  }
  return [...found].map(([path, bytes]) => ({ path, bytes }));
}
