import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Processes } from './processes.ts';

const gitMsMax = 120_000;
export const emptyTree = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

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

/** What commands have put into their home, or in an object's place, is not for Toka's own git. */
const ownOnly = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_NO_REPLACE_OBJECTS: '1' };

export type Git = ReturnType<typeof openGit>;

/** Git in the sandbox, as Toka itself uses it. Each method throws `invalid` with what git said. */
export function openGit(folder: string, scratch: string, processes: Processes, author: string) {
  const identity = {
    GIT_AUTHOR_NAME: author,
    GIT_AUTHOR_EMAIL: `${author}@toka.invalid`,
    GIT_COMMITTER_NAME: author,
    GIT_COMMITTER_EMAIL: `${author}@toka.invalid`,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
  };
  const start = (args: readonly string[], env: Record<string, string> = {}) =>
    processes.run(['git', ...gitOptions, ...args], {
      timeoutMs: gitMsMax,
      cwd: folder,
      env: { ...identity, ...ownOnly, ...env },
    });
  const run = async (args: readonly string[], env?: Record<string, string>): Promise<string> => {
    const { exitCode, output } = await start(args, env);
    if (exitCode !== 0) throw new Failure('invalid', `git ${args[0]}: ${clip(output.trim(), 500)}`);
    return output.trim();
  };
  return {
    identity,
    run,
    /** The commit that a name means; null: there is none. */
    async find(name: string): Promise<string | null> {
      const { exitCode, output } = await start(['rev-parse', '--verify', '--quiet', `${name}^{commit}`]);
      return exitCode === 0 ? output.trim() : null;
    },
    treeOf: (commit: string) => (commit === '' ? Promise.resolve(emptyTree) : run(['rev-parse', `${commit}^{tree}`])),
    /** A bundle of a reference without what its reader has, in a file. */
    async bundle(name: string, ref: string, known: readonly (string | null | undefined)[]): Promise<string> {
      const file = join(scratch, name);
      const without = known.filter((each) => each !== null && each !== undefined).map((each) => `^${each}`);
      await run(['bundle', 'create', '--quiet', file, ref, ...without]);
      return file;
    },
    /** Takes in what a bundle holds, and names its commit. */
    async unbundle(bundle: Buffer, ref: string): Promise<void> {
      const file = join(scratch, '.toka-bundle');
      writeFileSync(file, bundle, { mode: 0o600 });
      try {
        const [commit = ''] = (await run(['bundle', 'unbundle', file])).split(' ');
        await run(['update-ref', ref, commit]);
      } finally {
        rmSync(file, { force: true });
      }
    },
  };
}
