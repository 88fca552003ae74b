import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sources } from '../../services/agent-runner/repository.ts';

/** What git says, with an author. */
export const git = (cwd: string, ...args: string[]) =>
  execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t', ...args], {
    cwd,
    stdio: 'pipe',
    encoding: 'utf8',
  }).trim();

/** A repository with one commit on main and one more on feature/two; main is checked out. */
export function makeRepository(folder: string): void {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--initial-branch=main');
  writeFileSync(join(folder, 'README.md'), '# One\n');
  git(folder, 'add', '.');
  git(folder, 'commit', '--quiet', '-m', 'one');
  git(folder, 'checkout', '--quiet', '-b', 'feature/two');
  writeFileSync(join(folder, 'two.md'), '# Two\n');
  git(folder, 'add', '.');
  git(folder, 'commit', '--quiet', '-m', 'two');
  git(folder, 'checkout', '--quiet', 'main');
}

/** A runner that takes repositories from these folders. */
export const sources = (folder: string, roots = [folder]): Sources => ({
  rules: [],
  workstream: 'main',
  roots,
  scratch: join(folder, 'scratch'),
  bytesMax: 10 * 1024 ** 2,
});
