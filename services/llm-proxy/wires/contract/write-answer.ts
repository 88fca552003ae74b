import { z } from 'zod';
import type { ToolCall, Usage } from '#shared/contracts/llm.ts';
import { Answer } from '#shared/contracts/llm.ts';
import { Failure } from '#shared/errors.ts';
import { extend } from '../answers.ts';
import { callsOf } from '../conversation.ts';
import { toFailure } from '../errors.ts';
import type { CallPart, PivotAnswer, PivotEvent } from '../pivot.ts';
import { parsePlain } from '../read.ts';
import type { Origin } from './reasoning.ts';
import { packReasoning } from './reasoning.ts';

const answerCharsMax = 4_000_000;
/** As JSON, which the bus has to carry: a letter may need six bytes there, and arguments may be there twice. It takes 8 MiB. */
const answerBytesMax = 7_000_000;
const problemCharsMax = 200;

/** What a provider answered: `model` is what it says it used, and `usage` is undefined where it does not say. */
export type Completion = { answer: Answer; usage: Usage | undefined; model: string };

/** Takes the events of an answer until its end. */
export type AnswerWriter = {
  /** Throws a Failure for an error of the provider's, and for an answer that is too long. */
  write(event: PivotEvent): void;
  /** Throws `upstream` for what no answer can be. */
  completion(): Completion;
};

type Options = {
  /** Who answers, for failures. */
  label: string;
  /** Who is asked, and what its thinking will be bound to. */
  origin: Origin;
  /** Hears of the text while it comes; what it is given together is the answer's text. */
  onText?: ((text: string) => void) | undefined;
};

/** Writes an answer of toka.llm.chat. */
export function createAnswerWriter({ label, origin, onText }: Options): AnswerWriter {
  const said: PivotAnswer = { id: '', model: '', parts: [], stopReason: 'end', usage: undefined };
  let left = answerCharsMax;
  return {
    write(event) {
      if (event.type === 'error') throw toFailure(event.error);
      left -= charsOf(event) + 16;
      if (left < 0) throw new Failure('upstream', `the answer of ${label} is longer than ${answerCharsMax} characters`);
      extend(said, event);
      if ((event.type === 'text' || event.type === 'refusal') && event.delta !== '') onText?.(event.delta);
    },
    completion() {
      const answer = Answer.safeParse(toAnswer(said, origin));
      if (answer.success && Buffer.byteLength(JSON.stringify(answer.data)) > answerBytesMax)
        throw new Failure('upstream', `the answer of ${label} is longer than ${answerBytesMax} bytes`);
      if (answer.success) return { answer: answer.data, usage: said.usage, model: said.model || origin.model };
      throw new Failure('upstream', `the answer of ${label} does not hold: ${z.prettifyError(answer.error)}`);
    },
  };
}

function charsOf(event: PivotEvent): number {
  if (event.type === 'toolCallStart') return event.name.length;
  if (!('delta' in event)) return 0;
  if (event.type !== 'thinking') return event.delta.length;
  return event.delta.length + (event.signature?.length ?? 0) + (event.redacted?.length ?? 0);
}

function toAnswer({ parts, stopReason }: PivotAnswer, origin: Origin): Answer {
  const text = parts.map((part) => (part.type === 'text' || part.type === 'refusal' ? part.text : '')).join('');
  const calls = callsOf(parts.filter((part) => part.type !== 'refusal'));
  // Out of tokens in the middle of a call: there is no such call.
  const toolCalls = calls.map(toCall).filter(({ problem }) => problem === undefined || stopReason !== 'length');
  const reasoning = packReasoning(parts, origin);
  const ended = stopReason !== 'length' && stopReason !== 'refusal';
  return {
    text,
    toolCalls,
    stopReason: ended ? (toolCalls.length > 0 ? 'tool-calls' : 'end') : stopReason,
    ...(reasoning === undefined ? {} : { reasoning }),
  };
}

function toCall({ id, name, args: json }: CallPart): ToolCall {
  const args = parsePlain(json);
  const call = { callId: id, tool: name, args: args ?? {} };
  if (!args) return { ...call, problem: `they are no JSON object: ${json.slice(0, problemCharsMax)}` };
  return json.trim() === '' || isHeld(args, json) ? call : { ...call, json };
}

/** Whether the object says all that its text did: numbers beyond 2^53 and the order of names that are numbers are lost in it. */
const isHeld = (args: object, json: string): boolean => JSON.stringify(args) === withoutSpace(json);

const withoutSpace = (json: string): string =>
  json.replace(/"(?:[^"\\]|\\.)*"|\s+/g, (token) => (token.startsWith('"') ? JSON.stringify(JSON.parse(token)) : ''));
