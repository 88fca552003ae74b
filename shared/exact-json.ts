/** A number as its JSON has it, which `JSON.stringify` writes as it stands: Node 22 and later (V8's "JSON.parse source text access"). */
type RawNumber = { readonly rawJSON: string };

const exactly = JSON as typeof JSON & {
  rawJSON(text: string): RawNumber;
  isRawJSON(value: unknown): value is RawNumber;
};

// Of JSON that has none of these outside of its texts every number is written as it was read.
const perhapsChanged = /[[:,\s]-?(?:\d{16}|\d[\d.]{16}|\d+(?:\.\d+)?[eE]|\d+\.(?:\d*0(?!\d)|0{6})|(?<=-)0(?![.\d]))/;

const everywhere = () => true;

/**
 * Parses JSON whose numbers are to be written again as they were: a whole number beyond 2^53 loses its last digits, `1.0` its zero, `1e400`
 * all it says. Such a number becomes what `JSON.stringify` writes so; to all else it is an object. `isKept`: the fields in which, however
 * deep, that is done; elsewhere numbers are numbers. Throws where it is no JSON.
 */
export function parseExact(json: string, isKept: (field: string) => boolean = everywhere): unknown {
  const value: unknown = JSON.parse(json);
  if (perhapsChanged.test(json)) restoreNumbers(json, value, isKept);
  return value;
}

/** The text of a number that was kept as it was; undefined: it is none. */
export const rawNumberOf = (value: unknown): string | undefined =>
  exactly.isRawJSON(value) ? value.rawJSON : undefined;

/** The value with a plain number for each that was kept as it was: for those who check it, or count with it. */
export function mapNumbers(value: unknown, map: (raw: string) => number): unknown {
  const raw = rawNumberOf(value);
  if (raw !== undefined) return map(raw);
  if (Array.isArray(value)) return value.map((each) => mapNumbers(each, map));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([field, each]) => [field, mapNumbers(each, map)]));
}

type Level = { holder: unknown; isList: boolean; key: string | number; isNamed: boolean; kept: boolean };

/** Each is an object of its own: what has more of them would take many times its bytes. The rest are numbers as ever. */
const keptMax = 100_000;

/** Walks through the text and through what was parsed of it at once. */
function restoreNumbers(json: string, root: unknown, isKept: (field: string) => boolean): void {
  const levels: Level[] = [];
  let left = keptMax;
  for (let at = 0; at < json.length && left > 0; ) {
    const level = levels.at(-1);
    const sign = json.charAt(at);
    const end = endOf(json, at);
    if (sign === '{' || sign === '[') {
      const isList = sign === '[';
      const kept = level ? keeps(level, isKept) : isKept('');
      levels.push({ holder: level ? memberOf(level) : root, isList, key: isList ? 0 : '', isNamed: false, kept });
    } else if (sign === '}' || sign === ']') levels.pop();
    else if (sign === ',' && level) next(level);
    else if (sign === '"' && level) name(level, json, at, end);
    else if (isNumber(sign) && level && keeps(level, isKept) && restore(level, json.slice(at, end))) left--;
    at = end;
  }
}

const isNumber = (sign: string) => sign === '-' || (sign >= '0' && sign <= '9');
const inNumber = /[^-+.\deE]/g;

/** Behind what begins at `at`: a text, a number, or one character. */
function endOf(json: string, at: number): number {
  const sign = json.charAt(at);
  if (sign === '"') return endOfText(json, at + 1);
  if (!isNumber(sign)) return at + 1;
  inNumber.lastIndex = at;
  return inNumber.exec(json)?.index ?? json.length;
}

function endOfText(json: string, begin: number): number {
  for (let at = begin; ; ) {
    const quote = json.indexOf('"', at);
    if (quote < 0) return json.length;
    let escapes = 0;
    while (quote - escapes > begin && json[quote - escapes - 1] === '\\') escapes++;
    if (escapes % 2 === 0) return quote + 1;
    at = quote + 1;
  }
}

function next(level: Level): void {
  if (typeof level.key === 'number') level.key += 1;
  level.isNamed = false;
}

function name(level: Level, json: string, at: number, end: number): void {
  if (level.isList || level.isNamed) return;
  const text = json.slice(at, end);
  level.key = text.includes('\\') ? String(JSON.parse(text)) : text.slice(1, -1);
  level.isNamed = true;
}

const keeps = ({ kept, isList, key }: Level, isKept: (field: string) => boolean) =>
  kept || (!isList && isKept(String(key)));

function memberOf({ holder, key }: Level): unknown {
  return isHolder(holder) && Object.hasOwn(holder, key) ? holder[key] : undefined;
}

/** Of a field that is there twice, only the last was parsed. */
function restore(level: Level, text: string): boolean {
  const { holder, key } = level;
  const parsed = memberOf(level);
  if (!isHolder(holder) || !Object.is(parsed, Number(text)) || String(parsed) === text) return false;
  holder[key] = exactly.rawJSON(text);
  return true;
}

const isHolder = (value: unknown): value is Record<string | number, unknown> =>
  typeof value === 'object' && value !== null && !exactly.isRawJSON(value);
