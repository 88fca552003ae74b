import { z } from 'zod';
import type { StopReason } from '#shared/contracts/llm.ts';
import { Answer, Usage } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import type { Completion } from './provider.ts';

const answerCharsMax = 4_000_000;

/** A tool call as it came: `json` is its arguments, unparsed. */
export type RawCall = { callId: string; tool: string; json: string };

/** What was read of a stream until its end. */
export type Parts = {
  model: string;
  text: string;
  calls: RawCall[];
  /** Undefined: the stream ended before the model did. */
  stopReason: z.infer<typeof StopReason> | undefined;
  usage: unknown;
  reasoning?: string | undefined;
};

/** Makes an answer of what a stream brought; what no answer can be is an `upstream` failure. */
export function toCompletion(label: string, { model, text, calls, stopReason, usage, reasoning }: Parts): Completion {
  if (!stopReason) throw new Failure('upstream', `the answer of ${label} was cut off before its end`);
  const toolCalls = calls.flatMap(({ callId, tool, json }) => {
    const args = parseArgs(json);
    if (args) return [{ callId, tool, args }];
    // Out of tokens in the middle of a call: there is no such call.
    if (stopReason === 'length') return [];
    return [{ callId, tool, args: {}, problem: `they are no JSON object: ${json.slice(0, 200)}` }];
  });
  const ended = stopReason === 'end' || stopReason === 'tool-calls';
  const answer = Answer.safeParse({
    text,
    toolCalls,
    stopReason: ended ? (toolCalls.length > 0 ? 'tool-calls' : 'end') : stopReason,
    ...(reasoning === undefined ? {} : { reasoning }),
  });
  if (!answer.success) {
    throw new Failure('upstream', `the answer of ${label} does not hold: ${z.prettifyError(answer.error)}`);
  }
  return { answer: answer.data, usage: Usage.safeParse(usage).data, model: z.string().min(1).parse(model) };
}

const Args = z.record(z.string(), z.unknown());

/** A tool without arguments may be called with none at all. */
function parseArgs(json: string): z.infer<typeof Args> | undefined {
  try {
    return Args.safeParse(json.trim() === '' ? {} : JSON.parse(json)).data;
  } catch {
    return undefined;
  }
}

/** Counts what a stream brings, and ends one that brings too much. */
export function createMeter(label: string): (chars: number) => void {
  let left = answerCharsMax;
  return (chars) => {
    left -= chars + 16;
    if (left < 0) throw new Failure('upstream', `the answer of ${label} is longer than ${answerCharsMax} characters`);
  };
}
