import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { locate, openFile, openFolder, openRoot, replaceFile } from './confine.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import { explain, quote } from './words.ts';
import { refuseGitFolder } from './write-file.ts';

const bytesMax = 2 * 1024 ** 2;

export const editFile = defineTool({
  name: 'edit_file',
  description:
    'Replaces a text in a file of the workspace. old_text must be in the file exactly as given, white space included, and only once: give some lines around it, or set all.',
  needs: 'filesystem-write',
  idempotent: false,
  readOnly: false,
  input: z.strictObject({
    path: z.string().min(1, 'must not be empty').max(4096).describe('The file, relative to the workspace.'),
    old_text: z.string().min(1, 'must not be empty').describe('What is to be replaced.'),
    new_text: z.string().describe('What comes in its place.'),
    all: z.boolean().default(false).describe('Whether to replace it wherever it is.'),
  }),
  run({ folder }: SandboxContext, { path, old_text, new_text, all }) {
    using root = openRoot(folder);
    try {
      const names = locate(root, path);
      refuseGitFolder(names, path);
      using inside = openFolder(root, names.slice(0, -1));
      const last = names.at(-1) ?? '.';
      const text = read(inside, last, path);
      const times = text.split(old_text).length - 1;
      if (times === 0)
        throw new Failure('invalid', `old_text is not in ${quote(path)} as it was given; read the file again`);
      if (times > 1 && !all)
        throw new Failure(
          'invalid',
          `old_text is in ${quote(path)} ${times} times; give more of what is around it, or set all`,
        );
      replaceFile(inside, last, Buffer.from(text.replaceAll(old_text, () => new_text)), path);
      return { text: `replaced ${times === 1 ? 'it' : `${times} places`} in ${path}` };
    } catch (error) {
      throw explain(error, path);
    }
  },
});

function read(folder: Parameters<typeof openFile>[0], name: string, path: string): string {
  using file = openFile(folder, name, path);
  if (file.size > bytesMax)
    throw new Failure('invalid', `${quote(path)} has ${file.size} bytes; up to ${bytesMax} can be edited`);
  const bytes = readFileSync(file.fd);
  if (bytes.includes(0)) throw new Failure('invalid', `${quote(path)} is a binary file; only text can be edited`);
  return bytes.toString('utf8');
}
