import { Failure } from '#shared/errors.ts';
import type { Told } from '../stream-facts.ts';
import { newTold, readTold } from '../stream-facts.ts';
import { cutOff } from '../wires/errors.ts';
import { isObject } from '../wires/is-object.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { saidIn } from './count-said.ts';

/** What a line of a stream must contain to be worth reading; all else passes unread. */
export type StreamMarks = {
  /** Names of fields, with their quotes: the line is read where one of them is there and is not null. */
  fields: readonly Buffer[];
  /** Text that is said when the answer is whole. */
  ends: readonly Buffer[];
  /** Whether a reason to stop says it too: not every server sends the last line. */
  endsByReason: boolean;
  /** Names of fields, with their quotes, whose texts are what the model says. */
  says: readonly Buffer[];
  /** How lines begin that tell an error by their name: of the first the error is in the line itself, of the others in the one behind. */
  errors: readonly Buffer[];
};

const bytes = (...texts: string[]) => texts.map((text) => Buffer.from(text));

// Within a JSON text quotes are escaped, so nothing that a model writes looks like one of these.
export const chatMarks: StreamMarks = {
  fields: bytes('"usage"', '"finish_reason"', '"error"'),
  ends: bytes('data: [DONE]', 'data:[DONE]'),
  endsByReason: true,
  says: bytes('"content"', '"reasoning_content"', '"reasoning"', '"refusal"', '"arguments"'),
  errors: bytes('error:', 'event: error', 'event:error'),
};
export const responsesMarks: StreamMarks = {
  fields: bytes('"usage"', '"error"'),
  ends: bytes('"response.completed"', '"response.incomplete"'),
  endsByReason: false,
  says: bytes('"delta"'),
  errors: [],
};
export const anthropicMarks: StreamMarks = {
  fields: bytes('"usage"', '"stop_reason"', '"error"'),
  ends: bytes('"message_stop"'),
  endsByReason: false,
  says: bytes('"text"', '"thinking"', '"partial_json"'),
  errors: [],
};

const restBytesMax = 8_000_000;
const newline = 10;
const carriageReturn = 13;

export type Tally = {
  told: Told;
  /** The whole lines that these bytes complete, to be passed on. Throws `upstream` where a line has no end. */
  push(chunk: Buffer): Buffer;
  /** What is left. */
  end(): Buffer;
  /** What must be written before something else may begin. */
  gap(): string;
};

const empty = Buffer.alloc(0);

/** Watches a stream of server-sent events that passes by. `hideUsage`: the chunk that has only the usage is left out. `see`: gets each event that is read. */
export function createTally(
  { fields, ends, endsByReason, says, errors }: StreamMarks,
  hideUsage: boolean,
  see?: (event: JsonObject) => void,
): Tally {
  const told = newTold();
  let rest: Buffer[] = [];
  let restBytes = 0;
  let gap = '';
  const lookForErrors = createErrorWatch(errors, told);

  const look = (block: Buffer): Buffer => {
    told.ended ||= ends.some((end) => block.includes(end));
    if (!told.ended) told.saidBytes += saidIn(block, says);
    let read = -1;
    let from = 0;
    const kept: Buffer[] = [];
    for (const field of fields) {
      for (let at = block.indexOf(field); at >= 0; at = block.indexOf(field, at + field.length)) {
        if (isNull(block, at + field.length)) continue;
        const start = block.lastIndexOf(newline, at) + 1;
        if (start === read) continue;
        const found = block.indexOf(newline, at);
        const stop = found < 0 ? block.length : found + 1;
        read = start;
        const json = parseLine(block, start, stop);
        if (!json) continue;
        readTold(json, told);
        see?.(json);
        if (!hideUsage || field !== fields[0] || !isUsageOnly(json) || start < from) continue;
        kept.push(block.subarray(from, start));
        from = skipBlank(block, stop);
      }
    }
    lookForErrors(block);
    if (endsByReason) told.ended ||= told.stopped;
    if (from === 0) return block;
    return Buffer.concat([...kept, block.subarray(from)]);
  };

  return {
    told,
    push(chunk) {
      const last = chunk.lastIndexOf(newline);
      if (last < 0) {
        restBytes += chunk.length;
        if (restBytes > restBytesMax)
          throw new Failure('upstream', `a line of the answer is longer than ${restBytesMax} bytes`);
        rest.push(chunk);
        return empty;
      }
      const lines = last + 1 === chunk.length ? chunk : chunk.subarray(0, last + 1);
      const block = rest.length === 0 ? lines : Buffer.concat([...rest, lines]);
      rest = last + 1 === chunk.length ? [] : [chunk.subarray(last + 1)];
      restBytes = chunk.length - last - 1;
      gap = block[block.length - 2] === newline || block.at(-3) === newline ? '' : '\n';
      return look(block);
    },
    end() {
      const block = Buffer.concat(rest);
      rest = [];
      return told.ended || block.length === 0 ? block : look(block);
    },
    gap: () => gap,
  };
}

/** Reads the errors that are told by a name, of the line itself or of its event: older llama.cpp's and others' (see `errorIn`). */
function createErrorWatch(errors: readonly Buffer[], told: Told) {
  /** The line before was the name of an error. */
  let isNamed = false;
  return (block: Buffer): void => {
    const read = (start: number) => {
      isNamed = start >= block.length;
      if (isNamed) return;
      const found = block.indexOf(newline, start);
      const json = parseLine(block, start, found < 0 ? block.length : found + 1);
      if (json) readTold(json, told, 'error');
    };
    if (isNamed) read(0);
    for (const mark of errors) {
      for (let at = block.indexOf(mark); at >= 0; at = block.indexOf(mark, at + mark.length)) {
        const after = block[at + mark.length];
        if (at > 0 && block[at - 1] !== newline) continue;
        if (mark === errors[0]) read(at);
        // And no longer word.
        else if (after === newline || after === carriageReturn) read(block.indexOf(newline, at) + 1);
      }
    }
  };
}

/** What is wrong with a stream that has ended as it did. */
export const failureOf = (told: Told): Failure | undefined =>
  told.failure ?? (told.ended ? undefined : new Failure('upstream', cutOff.message));

/** Whether the field whose name ends at `at` is null. */
function isNull(block: Buffer, at: number): boolean {
  let next = at;
  while (block[next] === 32) next++;
  if (block[next] !== 58) return false;
  next++;
  while (block[next] === 32) next++;
  return block[next] === 110;
}

function parseLine(block: Buffer, start: number, stop: number): JsonObject | undefined {
  const brace = block.indexOf(123, start);
  if (brace < 0 || brace >= stop || brace - start > 16) return undefined;
  try {
    const value: unknown = JSON.parse(block.toString('utf8', brace, stop));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const isUsageOnly = ({ choices, usage }: JsonObject) =>
  Array.isArray(choices) && choices.length === 0 && isObject(usage);

/** The empty line that ends an event belongs to it. */
function skipBlank(block: Buffer, at: number): number {
  if (block[at] === newline) return at + 1;
  return block[at] === 13 && block[at + 1] === newline ? at + 2 : at;
}
