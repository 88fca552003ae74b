import { globSync, lstatSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
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
    /** Makes the repository anew, from a bundle that holds `commit`, or empty. */
    async begin(commit: string | null, bundle: Buffer | null): Promise<void> {
      mkdirSync(folder, { recursive: true });
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
      await git.run(['init', '--quiet', `--initial-branch=${branch}`]);
      base = commit;
      last = null;
      if (commit === null || bundle === null) return;
      await git.unbundle(bundle, 'refs/toka/base');
      await git.run(['checkout', '--quiet', '--force', '-B', branch, commit]);
    },
    /** Takes in a snapshot; it counts once `restore` has been called. */
    take: (bundle: Buffer) => git.unbundle(bundle, snapshotRef),
    /** Brings the files to the last snapshot, and the branch to the commit on which it was made. */
    async restore(): Promise<void> {
      const commit = await git.run(['rev-parse', '--verify', snapshotRef]);
      const tree = await git.treeOf(commit);
      const parent = await git.find(`${commit}^1`);
      if (parent !== null) await git.run(['checkout', '--quiet', '--force', '-B', branch, parent]);
      await git.run(['read-tree', '--reset', '-u', tree]);
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
