import { z } from 'zod';
import { gitOptions } from '../sandbox/git.ts';
import { told } from './shell.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';

const paths = z.array(z.string().min(1).max(4096)).max(100).default([]);

async function git({ processes, timeoutMs, signal, git: env }: SandboxContext, args: readonly string[]) {
  const ended = await processes.run(['git', ...gitOptions, ...args], { timeoutMs, signal, env });
  return ended.exitCode === 0 && !ended.killed ? { text: ended.output || 'nothing' } : told(ended);
}

export const gitStatus = defineTool({
  name: 'git_status',
  description: 'What has changed in the workspace since the last commit, and on which branch it is.',
  needs: 'git-access',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({}),
  run: (context: SandboxContext) => git(context, ['status', '--short', '--branch']),
});

export const gitDiff = defineTool({
  name: 'git_diff',
  description: 'The changes in the workspace as a patch: against the last commit, or against "since".',
  needs: 'git-access',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    since: z
      .string()
      .regex(/^[A-Za-z0-9][\w./~^-]{0,200}$/, 'must be a commit, such as HEAD~1')
      .default('HEAD')
      .describe('A commit.'),
    paths: paths.describe('Only these files and folders.'),
  }),
  run: (context: SandboxContext, { since, paths: only }) =>
    git(context, ['diff', '--no-ext-diff', '--no-textconv', since, '--', ...only]),
});

export const gitLog = defineTool({
  name: 'git_log',
  description: 'The last commits, one line each: commit, date, author, subject.',
  needs: 'git-access',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    limit: z.number().int().min(1).max(500).default(20).describe('How many.'),
    paths: paths.describe('Only commits that touched these.'),
  }),
  run: (context: SandboxContext, { limit, paths: only }) =>
    git(context, ['log', `--max-count=${limit}`, '--date=short', '--pretty=%h %ad %an: %s', '--', ...only]),
});

export const gitCommit = defineTool({
  name: 'git_commit',
  description: "Commits what has changed in the workspace to the agent's branch.",
  needs: 'git-access',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    message: z.string().trim().min(1, 'must not be empty').max(10_000).describe('The commit message.'),
    paths: paths.describe('Only these files and folders. Default: everything.'),
  }),
  async run(context: SandboxContext, { message, paths: only }) {
    const added = await git(context, ['add', '--all', '--', ...(only.length > 0 ? only : ['.'])]);
    if ('isError' in added && added.isError) return added;
    return git(context, ['commit', '--no-verify', '-m', message]);
  },
});
