import { tokensOfBytes } from '../tokens.ts';
import type { Told } from './tally.ts';

const [quote, backslash, colon, space] = [34, 92, 58, 32];

/** How many bytes the texts in fields of these names have, which are given with their quotes. */
export function saidIn(block: Buffer, names: readonly Buffer[]): number {
  let sum = 0;
  for (const name of names)
    for (let at = block.indexOf(name); at >= 0; at = block.indexOf(name, at + name.length))
      sum += textBytesAt(block, at + name.length);
  return sum;
}

/** Of the text that is the value of the name that ends at `at`; 0 where it is no name, or its value no text. */
function textBytesAt(block: Buffer, at: number): number {
  let next = at;
  while (block[next] === space) next++;
  if (block[next++] !== colon) return 0;
  while (block[next] === space) next++;
  if (block[next++] !== quote) return 0;
  const begin = next;
  while (next < block.length && block[next] !== quote) next += block[next] === backslash ? 2 : 1;
  return Math.min(next, block.length) - begin;
}

/**
 * Puts into `told` what a stream took that did not come to its end: of the prompt what the provider said, of the answer what came of
 * it. Does nothing where nothing was said of the prompt, as on OpenAI's wires, which tell it last.
 */
export function countSoFar(told: Told): void {
  if (!told.usage || told.ended || told.stopped) return;
  const outputTokens = Math.max(told.usage.outputTokens, tokensOfBytes(told.saidBytes));
  told.usage = { ...told.usage, outputTokens };
  told.estimated = true;
}
