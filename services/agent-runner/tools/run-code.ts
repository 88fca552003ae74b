import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { seconds, told } from './shell.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';

const interpreters = { javascript: ['node', 'code.mjs'], python: ['python3', 'code.py'] } as const;

export const runCode = defineTool({
  name: 'run_code',
  description:
    'Runs a program in the workspace: JavaScript (an ES module, Node.js) or Python 3. Answers what it prints and its exit code.',
  needs: 'code-execution',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    language: z.enum(['javascript', 'python']),
    code: z.string().min(1, 'must not be empty').max(200_000).describe('The whole program.'),
    timeout: seconds.describe('Seconds after which it is ended.'),
  }),
  async run({ processes, scratch, timeoutMs, signal, git }: SandboxContext, { language, code }) {
    const [program, name] = interpreters[language];
    const home = mkdtempSync(join(scratch, 'code-'));
    try {
      writeFileSync(join(home, name), code);
      return told(await processes.run([program, join(home, name)], { timeoutMs, signal, env: git }));
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
  },
});
