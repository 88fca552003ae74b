import { madeId } from '../answers.ts';
import type { JsonObject, WireError } from '../pivot.ts';
import { parseObject } from '../read.ts';
import { writeSse } from '../sse.ts';

/** How far a streamed response has come. */
export type ResponsePlace = { sequenceNumber: number; response: JsonObject };

// The words that a response has for it ("ResponseError" of the API reference, 2026-11-30).
const words = new Map([
  ['limited', 'rate_limit_exceeded'],
  ['invalid', 'invalid_prompt'],
]);

/**
 * The last events of a response that breaks off at this place. OpenAI's SDK throws at `error` alone; Codex, and gateways that look for the end
 * of a response, know `response.failed` alone (openai 7.57, Codex 0.169; 2026-11-30).
 */
export function writeFailure({ code, message }: WireError, { sequenceNumber, response }: ResponsePlace): string {
  const error = { code: words.get(code) ?? 'server_error', message };
  const failed = { ...response, status: 'failed', error };
  return (
    writeSse({ type: 'error', sequence_number: sequenceNumber, code, message, param: null }, 'error') +
    writeSse({ type: 'response.failed', sequence_number: sequenceNumber + 1, response: failed }, 'response.failed')
  );
}

const headBytesMax = 1_000_000;
const number = Buffer.from('"sequence_number":');
const firstEvent = /^data: ?(\{.*)$/m;

/** Follows a response that passes as it is, by whole lines. */
export function followResponse() {
  /** Undefined: the first event has come. */
  let head: Buffer | undefined = Buffer.alloc(0);
  let last = -1;
  let response: JsonObject | undefined;
  const readHead = (sofar: Buffer): void => {
    const [, json] = firstEvent.exec(sofar.toString()) ?? [];
    head = json === undefined && sofar.length < headBytesMax ? sofar : undefined;
    const created = json === undefined ? undefined : parseObject(json)?.response;
    if (typeof created === 'object' && created !== null) response = { ...created };
  };
  return {
    see(lines: Buffer): void {
      if (head && lines.length > 0) readHead(Buffer.concat([head, lines]));
      // Within a text its quotes would be escaped.
      const at = lines.lastIndexOf(number);
      const told = at < 0 ? Number.NaN : Number.parseInt(lines.toString('latin1', at + number.length, at + 40), 10);
      if (Number.isSafeInteger(told)) last = told;
    },
    place: (model: string | undefined): ResponsePlace => ({
      sequenceNumber: last + 1,
      response: response ?? {
        ...{ id: madeId('resp_'), object: 'response', created_at: Math.floor(Date.now() / 1_000), model: model ?? '' },
        ...{ output: [], incomplete_details: null, usage: null },
      },
    }),
  };
}
