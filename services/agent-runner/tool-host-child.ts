import { createInterface } from 'node:readline';
import { runInNewContext } from 'node:vm';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import { openRoot } from './tools/confine.ts';
import { findTool } from './tools/definitions.ts';
import type { Answered } from './tools/protocol.ts';
import { Question, ready, textCharsMax } from './tools/protocol.ts';

// The child of a tool host: reads calls from its input, one line each, and runs one after the other.
// Its parent kills it when a call takes too long; its own limit is for a call that has outlived its parent.

const [workspace = '', ownLimitMs = '', ...granted] = process.argv.slice(2);
const root = openRoot(workspace);

function answer(line: string): Answered {
  try {
    const { tool, args } = Question.parse(JSON.parse(line));
    const found = granted.includes(tool) ? findTool(tool) : undefined;
    if (!found) throw new Failure('invalid', `There is no tool of that name for you. You have: ${granted.join(', ')}.`);
    const { text, deliverable } = found.call(root, args);
    const clipped = { isError: false, text: clip(text, textCharsMax) };
    if (!deliverable) return clipped;
    const { bytes, ...facts } = deliverable;
    return { ...clipped, deliverable: { ...facts, base64: Buffer.from(bytes).toString('base64') } };
  } catch (error) {
    // Anything else ends this process; the host says so, and nobody is shown a path of the host.
    if (!(error instanceof Failure)) throw error;
    return { isError: true, text: clip(error.message, textCharsMax) };
  }
}

process.stdout.write(`${ready}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const answered: unknown = runInNewContext('run()', { run: () => answer(line) }, { timeout: Number(ownLimitMs) });
  process.stdout.write(`${JSON.stringify(answered)}\n`);
}
