import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { locate, openFolder, openRoot, replaceFile } from './confine.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import { explain, quote } from './words.ts';

const bytesMax = 1024 ** 2;

export const writeFile = defineTool({
  name: 'write_file',
  description:
    'Writes a text file of the workspace, in place of what was in it. Folders that are missing are made. At most 1 MiB.',
  needs: 'filesystem-write',
  idempotent: true,
  readOnly: false,
  input: z.strictObject({
    path: z.string().min(1, 'must not be empty').max(4096).describe('The file, relative to the workspace.'),
    content: z.string().describe('The whole text of the file.'),
  }),
  run({ folder }: SandboxContext, { path, content }) {
    using root = openRoot(folder);
    const bytes = Buffer.from(content);
    if (bytes.byteLength > bytesMax)
      throw new Failure('invalid', `content: has ${bytes.byteLength} bytes; at most ${bytesMax} go into one file`);
    try {
      const names = locate(root, path);
      const last = names.at(-1);
      if (last === undefined) throw new Failure('invalid', `${quote(path)} is the workspace itself; name a file in it`);
      refuseGitFolder(names, path);
      if (path.endsWith('/')) throw new Failure('invalid', `${quote(path)} ends with "/"; name a file`);
      using folder = openFolder(root, names.slice(0, -1), { make: true });
      replaceFile(folder, last, bytes, path);
    } catch (error) {
      throw explain(error, path);
    }
    return { text: `wrote ${bytes.byteLength} bytes to ${path}` };
  },
});

/** Git runs what its own folder says: filters, hooks. */
export function refuseGitFolder(names: readonly string[], path: string): void {
  if (names.some((name) => name.toLowerCase() === '.git'))
    throw new Failure('invalid', `${quote(path)} lies in git's own folder, which tools do not write to`);
}
