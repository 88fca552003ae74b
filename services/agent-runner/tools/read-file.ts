import { readFileSync, readSync } from 'node:fs';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import { imageBytesMax } from '../sandbox/protocol.ts';
import type { OpenFile } from './confine.ts';
import { locate, openFile, openFolder, openRoot } from './confine.ts';
import { mediaTypeOf } from './media-type.ts';
import type { Image, Reply, SandboxContext } from './tool.ts';
import { defineTool } from './tool.ts';
import { explain, quote } from './words.ts';

const charsMax = 30_000;
const chunkBytes = 64 * 1024;
const images: ReadonlyMap<string, Image['mediaType']> = new Map([
  ['image/png', 'image/png'],
  ['image/jpeg', 'image/jpeg'],
  ['image/gif', 'image/gif'],
  ['image/webp', 'image/webp'],
]);

export const readFile = defineTool({
  name: 'read_file',
  description: `Reads a text file of the workspace, or shows a picture (PNG, JPEG, GIF, WebP). Long files are cut at ${charsMax} characters or "limit" lines, and the last line says so: read on with "offset".`,
  needs: 'filesystem-read',
  idempotent: true,
  readOnly: true,
  input: z.strictObject({
    path: z.string().min(1, 'must not be empty').max(4096).describe('The file, relative to the workspace.'),
    offset: z.number().int().min(1).max(1_000_000_000).default(1).describe('The first line to read, counted from 1.'),
    limit: z.number().int().min(1).max(100_000).default(2000).describe('How many lines to read at most.'),
  }),
  run({ folder }: SandboxContext, { path, offset, limit }) {
    using root = openRoot(folder);
    try {
      const names = locate(root, path);
      using folder = openFolder(root, names.slice(0, -1));
      using file = openFile(folder, names.at(-1) ?? '.', path);
      const picture = images.get(mediaTypeOf(path));
      if (picture) return readImage(file, path, picture);
      return { text: readLines(file.fd, file.size, path, offset, limit) };
    } catch (error) {
      throw explain(error, path);
    }
  },
});

function readImage({ fd, size }: OpenFile, path: string, mediaType: Image['mediaType']): Reply {
  if (size > imageBytesMax)
    throw new Failure('invalid', `${quote(path)} has ${size} bytes; pictures of up to ${imageBytesMax} can be shown`);
  return { text: `${path}: ${mediaType}, ${size} bytes`, image: { mediaType, bytes: readFileSync(fd) } };
}

/** Reads chunk by chunk: a file of any size takes no more memory than what is shown of it. */
function readLines(fd: number, size: number, path: string, offset: number, limit: number): string {
  const decoder = new TextDecoder();
  const buffer = Buffer.alloc(chunkBytes);
  const last = offset + limit - 1;
  let text = '';
  let line = 1;
  for (let first = true; ; first = false) {
    const length = readSync(fd, buffer);
    const chunk = buffer.subarray(0, length);
    if (chunk.subarray(0, first ? chunkBytes : 0).includes(0))
      throw new Failure('invalid', `${quote(path)} is a binary file of ${size} bytes; only text can be read`);
    const piece = decoder.decode(chunk, { stream: length > 0 });
    let from = 0;
    while (from < piece.length) {
      const newline = piece.indexOf('\n', from);
      const to = newline < 0 ? piece.length : newline + 1;
      if (line > last) return `${text}[… more lines follow; read on with offset ${line}]`;
      if (line >= offset) text += piece.slice(from, to);
      if (text.length > charsMax) return cut(text, line, offset);
      if (newline >= 0) line++;
      from = to;
    }
    if (length === 0) break;
  }
  if (offset > line) throw new Failure('invalid', `offset: ${quote(path)} has only ${line} lines`);
  return text;
}

/** Cuts at the end of a line where there is one, so that reading on from there misses nothing. */
function cut(text: string, line: number, offset: number): string {
  const end = text.lastIndexOf('\n', charsMax - 1) + 1;
  if (end === 0)
    return `${clip(text, charsMax)}\n[… the line is longer than can be shown; read on with offset ${line + 1}]`;
  const whole = text.slice(0, end);
  const next = offset + (whole.match(/\n/g)?.length ?? 0);
  return `${whole}[… more lines follow; read on with offset ${next}]`;
}
