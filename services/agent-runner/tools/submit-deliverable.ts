import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { deliverableBytesMax } from '../sandbox/protocol.ts';
import type { Folder } from './confine.ts';
import { locate, openFile, openFolder, openRoot } from './confine.ts';
import { mediaTypeOf } from './media-type.ts';
import type { SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import { explain, quote } from './words.ts';

export const submitDeliverable = defineTool({
  name: 'submit_deliverable',
  description:
    'Hands in the deliverable: either its whole text as "content", or the "path" of a file in the workspace. It is then checked; do this once it is complete.',
  needs: null,
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    summary: z.string().trim().min(1, 'must not be empty').max(2000).describe('In a few sentences, what was done.'),
    content: z.string().optional().describe('The text of the deliverable. Give this or path, not both.'),
    path: z.string().min(1).max(4096).optional().describe('The file to hand in. Give this or content, not both.'),
  }),
  run({ folder }: SandboxContext, { summary, content, path }) {
    using root = openRoot(folder);
    if ((content === undefined) === (path === undefined))
      throw new Failure('invalid', 'Give exactly one of content and path: the text itself, or the file that holds it.');
    const bytes = path === undefined ? Buffer.from(content ?? '') : read(root, path);
    if (bytes.byteLength > deliverableBytesMax) throw tooLarge(bytes.byteLength);
    const mediaType = path === undefined ? 'text/markdown' : mediaTypeOf(path);
    return {
      text: `handed in ${bytes.byteLength} bytes`,
      deliverable: { bytes, mediaType, summary, ...(path === undefined ? {} : { path }) },
    };
  },
});

const tooLarge = (bytes: number) =>
  new Failure('invalid', `the deliverable has ${bytes} bytes; at most ${deliverableBytesMax} can be handed in`);

function read(root: Folder, path: string): Buffer {
  try {
    const names = locate(root, path);
    const last = names.at(-1);
    if (last === undefined) throw new Failure('invalid', `path: ${quote(path)} is the workspace itself; name one file`);
    using folder = openFolder(root, names.slice(0, -1));
    using file = openFile(folder, last, path);
    if (file.size > deliverableBytesMax) throw tooLarge(file.size);
    return readFileSync(file.fd);
  } catch (error) {
    throw explain(error, path);
  }
}
