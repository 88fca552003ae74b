import { Failure } from '#shared/errors.ts';

const depthMax = 200;
const [tab, newline, carriage, space] = [9, 10, 13, 32];
const [quote, comma, colon, backslash] = [34, 44, 58, 92];
const [openList, closeList, openObject, closeObject] = [91, 93, 123, 125];

/** What a value, a list or an object takes once it is parsed, and a field, whose object may have a shape of its own. */
const bytesOf = { value: 16, whole: 64, field: 160 } as const;

/** `structureBytes`: the memory of what was parsed, beside its texts. `isAmbiguous`: an object has a field twice, of which each reader takes the one that it likes. */
export type Scanned = { structureBytes: number; isAmbiguous: boolean };

/**
 * Looks through a JSON text without parsing it: from a few bytes a parser makes many times as much, and one that is deep enough
 * ends it. What is no JSON passes. Throws `too-large` or `invalid`, and reads no further.
 */
export function scanJson(raw: Buffer, structureBytesMax: number): Scanned {
  let structureBytes = 0;
  let isAmbiguous = false;
  const open = createNesting();
  for (let at = 0; at < raw.length; at++) {
    const byte = raw[at];
    if (byte === quote) {
      const end = endOfText(raw, at + 1);
      const fields = open.fields();
      if (fields && isField(raw, end)) {
        structureBytes += bytesOf.field;
        const name = nameIn(raw, at, end);
        isAmbiguous ||= fields.has(name);
        fields.add(name);
      }
      at = end - 1;
    } else if (byte === openObject || byte === openList) {
      open.enter(byte === openObject);
      structureBytes += bytesOf.whole;
    } else if (byte === closeObject || byte === closeList) open.leave();
    else if (byte === comma) structureBytes += bytesOf.value;
    else continue;
    if (structureBytes > structureBytesMax)
      throw new Failure('too-large', 'the body has too many fields and values; send fewer of them');
  }
  return { structureBytes, isAmbiguous };
}

/** What is open, outermost first, with the fields that were seen of it: one set for each level, as objects come in great numbers. */
function createNesting() {
  const isObject: boolean[] = [];
  const seen: Set<string>[] = [];
  return {
    enter(object: boolean) {
      if (isObject.push(object) > depthMax)
        throw new Failure('invalid', `the body nests deeper than ${depthMax} levels; flatten it`);
      if (!object) return;
      const fields = seen[isObject.length];
      if (!fields) seen[isObject.length] = new Set();
      else if (fields.size > 0) fields.clear();
    },
    leave: () => void isObject.pop(),
    /** Of the innermost, where that is an object. */
    fields: () => (isObject.at(-1) ? seen[isObject.length] : undefined),
  };
}

/** How far a text is looked through by hand: short ones, and those full of escapes, are done sooner so. */
const nearBytes = 128;

/** Behind the quote that ends the text which begins at `begin`. */
function endOfText(raw: Buffer, begin: number): number {
  let at = begin;
  for (;;) {
    for (const near = at + nearBytes; at < near; at += raw[at] === backslash ? 2 : 1)
      if (raw[at] === quote) return at + 1;
    const next = raw.indexOf(quote, at);
    if (next < 0) return raw.length;
    let escapes = 0;
    while (next - escapes > at && raw[next - escapes - 1] === backslash) escapes++;
    if (escapes % 2 === 0) return next + 1;
    at = next + 1;
  }
}

function isField(raw: Buffer, end: number): boolean {
  let at = end;
  while (raw[at] === space || raw[at] === newline || raw[at] === carriage || raw[at] === tab) at++;
  return raw[at] === colon;
}

/** The text between two quotes as a parser reads it. */
function nameIn(raw: Buffer, at: number, end: number): string {
  const text = raw.toString('utf8', at, end);
  if (!text.includes('\\')) return text.slice(1, -1);
  try {
    return String(JSON.parse(text));
  } catch {
    return text;
  }
}
