import { readFileSync } from 'node:fs';
import { matchesGlob } from 'node:path';
import { z } from 'zod';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Folder } from './confine.ts';
import { locate, openFile, openFolder, openRoot } from './confine.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import { walk } from './walk.ts';
import { codeOf, explain } from './words.ts';

const fileBytesMax = 1024 ** 2;
const lineCharsMax = 300;

export const searchFiles = defineTool({
  name: 'search_files',
  description:
    'Searches the text files of the workspace line by line with a JavaScript regular expression. Answers lines "path:line: text". Binary files, files over 1 MiB, .git and node_modules are left out.',
  needs: 'filesystem-read',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    pattern: z
      .string()
      .min(1, 'must not be empty')
      .max(1000)
      .describe(
        'A JavaScript regular expression without slashes and flags, e.g. "TODO|FIXME". For any case write (?i:todo).',
      ),
    path: z.string().max(4096).default('.').describe('The folder or file to search. Default: the whole workspace.'),
    glob: z
      .string()
      .min(1)
      .max(500)
      .optional()
      .describe('Which files to search, e.g. "**/*.ts"; without a slash it is matched against the file name alone.'),
    limit: z.number().int().min(1).max(2000).default(200).describe('How many matching lines to answer at most.'),
  }),
  run({ folder }: SandboxContext, { pattern, path, glob, limit }) {
    using root = openRoot(folder);
    const expression = compile(pattern);
    const lines: string[] = [];
    try {
      for (const file of candidates(root, path, glob)) {
        for (const [index, text] of file.lines.entries()) {
          if (!expression.test(text)) continue;
          if (lines.length === limit)
            return {
              text: [...lines, '[… more matches were left out: narrow the pattern, the path or the glob]'].join('\n'),
            };
          lines.push(`${file.path}:${index + 1}: ${shorten(text)}`);
        }
      }
    } catch (error) {
      throw explain(error, path);
    }
    return { text: lines.length > 0 ? lines.join('\n') : 'no matches' };
  },
});

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new Failure('invalid', `pattern: ${messageOf(error)}; escape special characters with a backslash`);
  }
}

function* candidates(
  root: Folder,
  path: string,
  glob: string | undefined,
): Generator<{ path: string; lines: string[] }> {
  const wanted = (file: string, name: string) =>
    glob === undefined || matchesGlob(glob.includes('/') ? file : name, glob);
  const names = locate(root, path);
  const last = names.at(-1);
  const single = last === undefined ? undefined : asFile(root, names, last);
  if (single) {
    if (wanted(names.join('/'), last ?? '')) yield { path: names.join('/'), lines: single };
    return;
  }
  using folder = openFolder(root, names);
  for (const entry of walk(folder, names.map((name) => `${name}/`).join(''), true)) {
    if (entry.kind !== 'file' || entry.size > fileBytesMax || !wanted(entry.path, entry.name)) continue;
    const lines = read(entry.folder, entry.name);
    if (lines) yield { path: entry.path, lines };
  }
}

function asFile(root: Folder, names: readonly string[], last: string): string[] | undefined {
  using above = openFolder(root, names.slice(0, -1));
  return read(above, last);
}

/** A text file's lines; undefined: it is something else, too large, or gone. */
function read(folder: Folder, name: string): string[] | undefined {
  try {
    using file = openFile(folder, name, name);
    if (file.size > fileBytesMax) return undefined;
    const bytes = readFileSync(file.fd);
    if (bytes.includes(0)) return undefined;
    const lines = bytes.toString('utf8').split(/\r?\n/);
    if (lines.at(-1) === '') lines.pop();
    return lines;
  } catch (error) {
    if (error instanceof Failure || codeOf(error) !== undefined) return undefined;
    throw error;
  }
}

const shorten = (text: string) => (text.length > lineCharsMax ? `${text.slice(0, lineCharsMax)}…` : text);
