import { isUtf8 } from 'node:buffer';
import type { JsonObject } from './pivot.ts';

const [quote, comma, colon, backslash] = [34, 44, 58, 92];
const [openList, closeList, openObject, closeObject] = [91, 93, 123, 125];

/**
 * A body with other fields, in which every field that is as it was read stands byte for byte as it came: numbers, the order of what is in it,
 * white space. A provider that signs what it thought finds what it has signed. `read`: what was parsed of `raw`, where no field is twice.
 */
export function rewriteFields(raw: Buffer, read: JsonObject, body: JsonObject): Buffer {
  const members = isUtf8(raw) ? membersOf(raw) : new Map<string, Buffer>();
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (value === undefined) continue;
    const kept = Object.hasOwn(read, name) && Object.is(read[name], value) ? members.get(name) : undefined;
    parts.push(Buffer.from(`${parts.length === 0 ? '{' : ','}${JSON.stringify(name)}:`));
    parts.push(kept ?? Buffer.from(JSON.stringify(value)));
  }
  return parts.length === 0 ? Buffer.from('{}') : Buffer.concat([...parts, Buffer.from('}')]);
}

/** The fields of the object that a JSON text is, each with its value as it stands there. */
function membersOf(raw: Buffer): Map<string, Buffer> {
  const members = new Map<string, Buffer>();
  let depth = 0;
  let name: string | undefined;
  let begin = 0;
  const close = (at: number) => {
    if (depth !== 1) return;
    if (name !== undefined) members.set(name, raw.subarray(begin, at));
    name = undefined;
  };
  for (let at = 0; at < raw.length; at++) {
    const byte = raw[at];
    if (byte === quote) {
      const end = endOfText(raw, at + 1);
      if (depth === 1 && name === undefined) name = nameIn(raw.toString('utf8', at, end));
      at = end - 1;
    } else if (byte === openObject || byte === openList) depth += 1;
    else if (byte === closeObject || byte === closeList) {
      close(at);
      depth -= 1;
    } else if (depth !== 1) continue;
    else if (byte === comma) close(at);
    else if (byte === colon) begin = at + 1;
  }
  return members;
}

const nameIn = (text: string): string => String(JSON.parse(text));

/** Behind the quote that ends the text. */
function endOfText(raw: Buffer, begin: number): number {
  for (let at = begin; ; ) {
    const end = raw.indexOf(quote, at);
    if (end < 0) return raw.length;
    let escapes = 0;
    while (end - escapes > begin && raw[end - escapes - 1] === backslash) escapes++;
    if (escapes % 2 === 0) return end + 1;
    at = end + 1;
  }
}
