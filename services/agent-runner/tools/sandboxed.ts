import { applyPatch } from './apply-patch.ts';
import { editFile } from './edit-file.ts';
import { gitCommit, gitDiff, gitLog, gitStatus } from './git.ts';
import { listFiles } from './list-files.ts';
import { readFile } from './read-file.ts';
import { runCode } from './run-code.ts';
import { searchFiles } from './search-files.ts';
import { shell, shellKill, shellOutput } from './shell.ts';
import { submitDeliverable } from './submit-deliverable.ts';
import type { SandboxContext, Tool } from './tool.ts';
import { writeFile } from './write-file.ts';

/** The tools whose work is done in the sandbox. */
export const sandboxTools: readonly Tool<SandboxContext>[] = [
  listFiles,
  readFile,
  searchFiles,
  writeFile,
  editFile,
  applyPatch,
  shell,
  shellOutput,
  shellKill,
  runCode,
  gitStatus,
  gitDiff,
  gitLog,
  gitCommit,
  submitDeliverable,
];

export const findSandboxTool = (name: string): Tool<SandboxContext> | undefined =>
  sandboxTools.find((tool) => tool.name === name);
