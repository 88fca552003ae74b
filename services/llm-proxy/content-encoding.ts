import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** What a body may be compressed with, in the words of Content-Encoding. */
export const encodings = ['gzip', 'deflate', 'br', 'zstd'] as const;
export type Encoding = (typeof encodings)[number];

/** A window of 8 MiB is what a sender may expect of everybody (RFC 8878, section 3.1.1.1.2); a frame that names more would take as much memory. */
const zstdWindowLogMax = 23;
/** The method and size of window that a zlib header begins with; else "deflate" is meant without one, as some servers send it. */
const [methodMask, deflated] = [0x0f, 8];

/** The one encoding of a body; undefined: none. `unknown`: one that is not listed, or several. */
export function encodingOf(header: string | string[] | undefined): Encoding | undefined | 'unknown' {
  const name = String(header ?? '')
    .trim()
    .toLowerCase()
    .replace(/^x-gzip$/, 'gzip');
  if (name === '' || name === 'identity') return undefined;
  return encodings.find((each) => each === name) ?? 'unknown';
}

/** Unpacks a body that begins so. Its output comes in pieces, whatever they stand for. */
export function createUnpacker(encoding: Encoding, first: Buffer): Transform {
  switch (encoding) {
    case 'gzip':
      return createGunzip();
    case 'deflate':
      return ((first[0] ?? deflated) & methodMask) === deflated ? createInflate() : createInflateRaw();
    case 'br':
      return createBrotliDecompress();
    case 'zstd':
      return createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: zstdWindowLogMax } });
  }
}
