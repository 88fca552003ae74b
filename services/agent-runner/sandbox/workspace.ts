import { globSync, lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Ended, Processes } from './processes.ts';
import type { Closed } from './protocol.ts';

// Inside the sandbox: the workspace is a git repository. Its snapshots lie on a reference of Toka's own, made with an index of Toka's
// own, so that the agent's branch and index hold what the agent did and nothing else. Ignored files are in no snapshot.

const gitMsMax = 120_000;
const filesMax = 200;
const snapshotRef = 'refs/toka/snapshot';
const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

/** What holds for every git that Toka itself runs here: nothing of the repository's own configuration starts a program. */
export const gitOptions = [
  ['core.hooksPath', '/dev/null'],
  ['core.fsmonitor', 'false'],
  ['commit.gpgSign', 'false'],
  ['gc.auto', '0'],
  ['core.pager', 'cat'],
  ['diff.external', ''],
  ['safe.directory', '*'],
  ['advice.detachedHead', 'false'],
  ['core.quotePath', 'false'],
].flatMap(([name, value]) => ['-c', `${name}=${value}`]);

export type Workspace = ReturnType<typeof openWorkspace>;

/** `scratch`: a folder beside the workspace, for Toka's own index and bundles on their way. */
export function openWorkspace(folder: string, scratch: string, processes: Processes, author: string, branch: string) {
  const identity = {
    GIT_AUTHOR_NAME: author,
    GIT_AUTHOR_EMAIL: `${author}@toka.invalid`,
    GIT_COMMITTER_NAME: author,
    GIT_COMMITTER_EMAIL: `${author}@toka.invalid`,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
  };
  const own = { GIT_INDEX_FILE: join(scratch, '.toka-index') };
  let base: string | null = null;
  let last: { commit: string; tree: string; parent: string } | null = null;

  const run = (args: readonly string[], env: Record<string, string> = {}): Promise<Ended> =>
    processes.run(['git', ...gitOptions, ...args], { timeoutMs: gitMsMax, cwd: folder, env: { ...identity, ...env } });
  const git = async (args: readonly string[], env?: Record<string, string>): Promise<string> => {
    const { exitCode, output } = await run(args, env);
    if (exitCode !== 0) throw new Failure('invalid', `git ${args[0]}: ${clip(output.trim(), 500)}`);
    return output.trim();
  };
  const tryGit = async (args: readonly string[]) => {
    const { exitCode, output } = await run(args);
    return exitCode === 0 ? output.trim() : null;
  };
  /** Takes in what a bundle holds, and names its commit. */
  const unbundle = async (bundle: Buffer, ref: string) => {
    const file = join(scratch, '.toka-bundle');
    writeFileSync(file, bundle, { mode: 0o600 });
    try {
      const [commit = ''] = (await git(['bundle', 'unbundle', file])).split(' ');
      await git(['update-ref', ref, commit]);
    } finally {
      rmSync(file, { force: true });
    }
  };
  const head = () => tryGit(['rev-parse', '--verify', '--quiet', 'HEAD^{commit}']);

  return {
    identity,
    /** Makes the repository anew, from a bundle that holds `commit`, or empty. */
    async begin(commit: string | null, bundle: Buffer | null): Promise<void> {
      mkdirSync(folder, { recursive: true });
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true, force: true });
      await git(['init', '--quiet', `--initial-branch=${branch}`]);
      base = commit;
      last = null;
      if (commit === null || bundle === null) return;
      await unbundle(bundle, 'refs/toka/base');
      await git(['checkout', '--quiet', '--force', '-B', branch, commit]);
    },
    /** Takes in a snapshot; it counts once `restore` has been called. */
    take: (bundle: Buffer) => unbundle(bundle, snapshotRef),
    /** Brings the files to the last snapshot, and the branch to the commit on which it was made. */
    async restore(): Promise<void> {
      const commit = await git(['rev-parse', '--verify', snapshotRef]);
      const tree = await git(['rev-parse', `${commit}^{tree}`]);
      const parent = await tryGit(['rev-parse', '--verify', '--quiet', `${commit}^1`]);
      if (parent !== null) await git(['checkout', '--quiet', '--force', '-B', branch, parent]);
      await git(['read-tree', '--reset', '-u', tree]);
      if (parent === null) await git(['read-tree', '--empty']);
      else await git(['reset', '--quiet', '--mixed', parent]);
      last = { commit, tree, parent: parent ?? '' };
    },
    /** Saves the files as they are; null: nothing is new since the last time. */
    async snapshot(): Promise<{ commit: string; bundle: string } | null> {
      await git(['add', '--all', '--', '.'], own);
      const tree = await git(['write-tree'], own);
      const parent = (await head()) ?? '';
      if (
        last ? last.tree === tree && last.parent === parent : parent === (base ?? '') && tree === (await treeOf(parent))
      )
        return null;
      const commit = await git(['commit-tree', tree, '-m', 'snapshot', ...(parent ? ['-p', parent] : [])]);
      await git(['update-ref', snapshotRef, commit]);
      const bundle = join(scratch, '.toka-snapshot');
      const without = [last?.commit, base]
        .filter((known) => known !== null && known !== undefined)
        .map((known) => `^${known}`);
      await git(['bundle', 'create', '--quiet', bundle, snapshotRef, ...without]);
      last = { commit, tree, parent };
      return { commit, bundle };
    },
    /** Commits what the agent left uncommitted, and tells what there is. */
    async close(message: string, globs: readonly string[]): Promise<Closed> {
      if ((await git(['status', '--porcelain'])) !== '') {
        await git(['add', '--all', '--', '.']);
        await run(['commit', '--quiet', '--no-verify', '-m', message]);
      }
      const now = await head();
      const range = now === null ? null : base === null ? now : `${base}..${now}`;
      const commits = range === null ? 0 : Number(await git(['rev-list', '--count', range]));
      const changed = now !== null && (await treeOf(now)) !== (await treeOf(base ?? ''));
      return { head: now, commits, changed, files: find(folder, globs) };
    },
    /** The whole change as a patch, in a file. */
    async diff(): Promise<string> {
      const file = join(scratch, '.toka-diff');
      await git(['diff', '--no-ext-diff', '--no-textconv', '--binary', `--output=${file}`, base ?? emptyTree, 'HEAD']);
      return file;
    },
    /** The branch as a bundle that builds on the base, in a file. */
    async bundle(): Promise<string> {
      const file = join(scratch, '.toka-branch');
      await git(['update-ref', 'refs/toka/branch', 'HEAD']);
      await git(['bundle', 'create', '--quiet', file, 'refs/toka/branch', ...(base === null ? [] : [`^${base}`])]);
      return file;
    },
  };

  async function treeOf(commit: string): Promise<string> {
    return commit === '' ? emptyTree : git(['rev-parse', `${commit}^{tree}`]);
  }
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
