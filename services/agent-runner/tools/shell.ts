import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import type { Ended } from '../sandbox/processes.ts';
import { locate, openRoot } from './confine.ts';
import type { Reply, SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';

/** Seconds that a model may give a command; the runner's TOOL_TIMEOUT_MAX bounds it. */
export const seconds = z.number().min(0.1).max(3_600).optional();

export const shell = defineTool({
  name: 'shell',
  description:
    'Runs a command with bash in the workspace. Answers its output (of a long one the beginning and the end) and its exit code. Processes that are left over when it ends are ended. With background it is left running: look at it with shell_output, end it with shell_kill.',
  needs: 'shell',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    command: z.string().min(1, 'must not be empty').max(50_000).describe('The command.'),
    folder: z.string().max(4096).default('.').describe('Where to run it. Default: the workspace.'),
    timeout: seconds.describe('Seconds after which it is ended.'),
    background: z.boolean().default(false).describe('Whether to leave it running.'),
  }),
  async run(context: SandboxContext, { command, folder, background }) {
    const { processes, jobs, timeoutMs, signal } = context;
    const cwd = inside(context.folder, folder);
    const line = ['bash', '--noprofile', '--norc', '-c', command];
    if (background) return { text: `started ${jobs.start(line, { cwd, env: context.git })}` };
    return told(await processes.run(line, { cwd, timeoutMs, signal, env: context.git }));
  },
});

export const shellOutput = defineTool({
  name: 'shell_output',
  description: 'What a command that was left running has said since it was last asked, and whether it has ended.',
  needs: 'shell',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({ job: z.string().max(50).describe('Its name, such as "job-1".') }),
  run: ({ jobs }: SandboxContext, { job }) => ({ text: jobs.read(job) }),
});

export const shellKill = defineTool({
  name: 'shell_kill',
  description: 'Ends a command that was left running, with all that it has started.',
  needs: 'shell',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({ job: z.string().max(50).describe('Its name, such as "job-1".') }),
  run: ({ jobs }: SandboxContext, { job }) => ({ text: jobs.kill(job) }),
});

function inside(workspace: string, folder: string): string {
  using root = openRoot(workspace);
  const path = [workspace, ...locate(root, folder)].join('/');
  return path;
}

/** A command's end as a model is told of it. */
export function told({ exitCode, signal, output, killed }: Ended): Reply {
  if (killed) return { isError: true, killed, text: output };
  if (signal) return { isError: true, text: `${output}\n[ended by ${signal}]` };
  if (exitCode === null) throw new Failure('internal', 'a command ended without a code');
  return {
    text: `${output}${output === '' || output.endsWith('\n') ? '' : '\n'}[exit code ${exitCode}]`,
    isError: exitCode !== 0,
  };
}
