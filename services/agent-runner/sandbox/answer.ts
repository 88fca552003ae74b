import { runInNewContext } from 'node:vm';
import { Failure } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import { findSandboxTool } from '../tools/sandboxed.ts';
import type { Reply, SandboxContext } from '../tools/tool.ts';
import type { Answered, Question } from './protocol.ts';
import { textCharsMax } from './protocol.ts';
import { outOfMemoryKills, resourcesSoFar } from './usage.ts';

/** Inside the sandbox: makes one tool call, and tells what came of it, typed where a limit was hit. */
export async function answerCall(
  { tool, args, timeoutMs }: Question,
  context: Omit<SandboxContext, 'timeoutMs'>,
): Promise<Answered> {
  const found = findSandboxTool(tool);
  const killsBefore = outOfMemoryKills();
  const reply = found ? await tryCall(() => found.call({ ...context, timeoutMs }, args), timeoutMs) : unknown(tool);
  const killed = outOfMemoryKills() > killsBefore ? 'memory' : reply.killed;
  return {
    isError: reply.isError ?? killed !== undefined,
    text: clip(reply.text, textCharsMax),
    ...resourcesSoFar(),
    ...(killed ? { killed } : {}),
    ...(reply.image
      ? { image: { mediaType: reply.image.mediaType, base64: reply.image.bytes.toString('base64') } }
      : {}),
    ...(reply.deliverable ? { deliverable: inBase64(reply.deliverable) } : {}),
  };
}

const unknown = (tool: string): Reply => ({
  isError: true,
  text: `There is no tool ${JSON.stringify(tool.slice(0, 100))}.`,
});

const inBase64 = ({ bytes, ...facts }: NonNullable<Reply['deliverable']>) => ({
  ...facts,
  base64: Buffer.from(bytes).toString('base64'),
});

/** What a tool does at once is cut off at its time too: a hostile pattern can keep a regular expression busy for years. */
async function tryCall(call: () => Reply | Promise<Reply>, timeoutMs: number): Promise<Reply> {
  try {
    return await (runInNewContext('run()', { run: call }, { timeout: timeoutMs }) as Reply | Promise<Reply>);
  } catch (error) {
    if (error instanceof Failure) return { isError: true, text: clip(error.message, textCharsMax) };
    const code = codeOf(error);
    if (code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return { isError: true, killed: 'time', text: '' };
    if (code === 'ENOSPC') return { isError: true, text: 'the disk of the sandbox is full: remove what is not needed' };
    throw error;
  }
}

/** The error of a script that was cut off is no Error of this realm's. */
const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined;
