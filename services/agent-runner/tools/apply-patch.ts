import { z } from 'zod';
import { gitOptions } from '../sandbox/git.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';

export const applyPatch = defineTool({
  name: 'apply_patch',
  description:
    'Applies a unified diff to the workspace, as "git apply" does: all of it or nothing. Paths are relative to the workspace, with a/ and b/ before them.',
  needs: 'filesystem-write',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    patch: z
      .string()
      .min(1, 'must not be empty')
      .max(1024 ** 2)
      .describe('The unified diff.'),
  }),
  async run({ processes, timeoutMs, signal, git }: SandboxContext, { patch }) {
    const { exitCode, output } = await processes.run(
      ['git', ...gitOptions, 'apply', '--recount', '--whitespace=nowarn', '-'],
      { timeoutMs, signal, env: git, input: patch.endsWith('\n') ? patch : `${patch}\n` },
    );
    return exitCode === 0 ? { text: 'applied' } : { isError: true, text: `the patch does not apply:\n${output}` };
  },
});
