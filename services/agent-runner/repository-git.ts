import { execFile } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const gitConfig = fileURLToPath(new URL('gitconfig', import.meta.url));
export const gitMsMax = 300_000;

/** To what git may reach out; a repository's own settings could send it elsewhere, to a command even. */
type Reach = 'file' | 'https:http:ssh';

/** Runs git on what strangers may have written. Throws what `execFile` does. */
export async function git(cwd: string, args: readonly string[], reach: Reach = 'file'): Promise<string> {
  const { stdout } = await promisify(execFile)('git', [...settings(cwd), ...args], {
    cwd,
    timeout: gitMsMax,
    killSignal: 'SIGKILL',
    maxBuffer: 10 * 1024 ** 2,
    env: {
      PATH: pathOf(),
      GIT_CONFIG_GLOBAL: gitConfig,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ALLOW_PROTOCOL: reach,
      GIT_NO_LAZY_FETCH: '1',
      GIT_CEILING_DIRECTORIES: dirname(cwd),
      GIT_LFS_SKIP_SMUDGE: '1',
      ...identity,
    },
  });
  // A path may end with a space.
  return stdout.replace(/\n$/, '');
}

/** Over those of a repository: nothing in it starts a program, or names packs elsewhere. `cwd` has been checked. */
const settings = (cwd: string) =>
  [
    'core.hooksPath=/dev/null',
    'core.fsmonitor=false',
    'core.alternateRefsCommand=true',
    'core.multiPackIndex=false',
    'gc.auto=0',
    `safe.directory=${cwd}`,
  ].flatMap((setting) => ['-c', setting]);

const identity = Object.fromEntries(
  ['AUTHOR', 'COMMITTER'].flatMap((who) => [
    [`GIT_${who}_NAME`, 'Toka'],
    [`GIT_${who}_EMAIL`, 'toka@toka.invalid'],
    [`GIT_${who}_DATE`, '2000-01-01T00:00:00Z'],
  ]),
);

/** Where programs are: a fixed list, for git is asked to work on what strangers wrote. */
const pathOf = () => ['/usr/local/bin', '/usr/bin', '/bin', '/opt/homebrew/bin'].join(':');
