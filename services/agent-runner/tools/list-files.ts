import { z } from 'zod';
import { locate, openFolder, openRoot } from './confine.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import type { Entry } from './walk.ts';
import { walk } from './walk.ts';
import { explain } from './words.ts';

const entriesMax = 200_000;

export const listFiles = defineTool({
  name: 'list_files',
  description:
    'Lists a folder of the workspace: one line for each entry, "<size in bytes><tab><path>", sorted by path. Folders end with "/" and have "-" as size; links end with " -> link" and are not followed. With recursive, everything below is listed too, except .git and node_modules.',
  needs: 'filesystem-read',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    path: z
      .string()
      .max(4096)
      .default('.')
      .describe('The folder, relative to the workspace. Default: the workspace itself.'),
    recursive: z.boolean().default(false).describe('Whether to list what lies in its folders too.'),
    limit: z.number().int().min(1).max(5000).default(500).describe('How many entries to list at most.'),
  }),
  run({ folder }: SandboxContext, { path, recursive, limit }) {
    using root = openRoot(folder);
    const lines: string[] = [];
    let seen = 0;
    try {
      const names = locate(root, path);
      using folder = openFolder(root, names);
      for (const entry of walk(folder, names.map((name) => `${name}/`).join(''), recursive)) {
        seen++;
        if (lines.length < limit) lines.push(line(entry));
        if (seen >= entriesMax) break;
      }
    } catch (error) {
      throw explain(error, path);
    }
    if (seen === 0) return { text: 'no entries' };
    const more = seen >= entriesMax ? `at least ${seen - lines.length}` : seen - lines.length;
    if (seen > lines.length) lines.push(`[… ${more} more entries were left out]`);
    return { text: lines.join('\n') };
  },
});

function line({ path, kind, size }: Entry): string {
  // A name with a line break in it must not pass for two entries.
  const shown = path.replace(/\p{Cc}/gu, (character) => encodeURIComponent(character));
  switch (kind) {
    case 'file':
      return `${size}\t${shown}`;
    case 'folder':
      return `-\t${shown}/`;
    case 'link':
      return `-\t${shown} -> link`;
    case 'other':
      return `-\t${shown} (not a regular file)`;
  }
}
