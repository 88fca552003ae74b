import { StringDecoder } from 'node:string_decoder';
import { Failure } from '#shared/errors.ts';
import type { SseEvent } from './pivot.ts';

const eventCharsMax = 8_000_000;

/** Reads an event stream bit by bit. */
export type SseParser = {
  /** The events that these bytes complete. Throws `upstream` where one is longer than the bound. */
  push(chunk: Buffer): SseEvent[];
};

/** Parses an event stream that comes in any pieces: bytes of one character, and the two of a CRLF, may come apart. */
export function createSseParser({ charsMax = eventCharsMax }: { charsMax?: number } = {}): SseParser {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  let begun = false;
  let afterCr = false;
  let event: string | undefined;
  let data: string[] = [];
  let held = 0;

  const hold = (chars: number) => {
    held += chars;
    if (held + rest.length > charsMax)
      throw new Failure('upstream', `an event of the stream is longer than ${charsMax} characters`);
  };
  const line = (text: string, done: SseEvent[]) => {
    if (text === '') {
      if (data.length > 0) done.push({ event, data: data.join('\n') });
      event = undefined;
      data = [];
      held = 0;
      return;
    }
    hold(text.length);
    const colon = text.indexOf(':');
    const field = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(text[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') data.push(value);
    else if (field === 'event') event = value;
    // llama.cpp's server once told its errors in a field of their own (`server_sent_event(sink, "error", …)`, 2024 and 2025).
    else if (field === 'error') {
      event = 'error';
      data.push(value);
    }
  };

  return {
    push(chunk) {
      let text = decoder.write(chunk);
      if (text === '') return [];
      // A mark that says UTF-8 belongs to no field.
      if (!begun && text.startsWith('\uFEFF')) text = text.slice(1);
      begun = true;
      if (afterCr && text.startsWith('\n')) text = text.slice(1);
      const done: SseEvent[] = [];
      let from = 0;
      for (const { index, 0: end } of text.matchAll(/\r\n|\n|\r/g)) {
        const whole = rest + text.slice(from, index);
        rest = '';
        line(whole, done);
        from = index + end.length;
      }
      afterCr = text.endsWith('\r');
      rest += text.slice(from);
      hold(0);
      return done;
    },
  };
}

/** The text of one event. */
export const writeSse = (data: unknown, event?: string): string =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;
