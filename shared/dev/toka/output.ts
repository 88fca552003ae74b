import { columns, harmless, plain } from '../launch/words.ts';

const cellMax = 80;

/** What a column is called, and what stands in it. */
export type Columns<T> = Readonly<Record<string, (item: T) => string | number | null | undefined>>;

/** Where a command shows things: tables on a terminal, tabs between fields in a pipe, JSON for programs that ask for it. */
export type Output = {
  json: boolean;
  list<T>(items: readonly T[], shown: Columns<T>): void;
  /** One thing as a list has it, such as what has just been changed. */
  row<T>(item: T, shown: Columns<T>): void;
  /** One thing, each of its fields on a line. */
  one<T>(item: T, shown: Columns<T>): void;
  /** One of a stream: a line, or with --json a JSON object on a line. */
  next(item: unknown, line: string): void;
  /** A text of any lines; into a pipe it goes as it is. */
  text(text: string): void;
  /** For people alone: nothing that a program would read. */
  say(line: string): void;
  /** What a long work is at, on one line of a terminal that the next one takes the place of. */
  progress(line: string): void;
};

type Stream = Pick<NodeJS.WriteStream, 'write'> & { isTTY?: boolean | undefined };

export function createOutput(stdout: Stream, stderr: Stream, json: boolean): Output {
  const write = (text: string) => void stdout.write(`${text}\n`);
  let isOpen = false;
  const over = () => {
    if (isOpen) stderr.write('\r\x1b[K');
    isOpen = false;
  };
  const cells = <T>(item: T, shown: Columns<T>, max: number) =>
    Object.values(shown).map((of) => plain(String(of(item) ?? ''), max));
  const table = <T>(items: readonly T[], shown: Columns<T>) => {
    if (!stdout.isTTY) return items.forEach((item) => void write(cells(item, shown, Number.MAX_VALUE).join('\t')));
    const head = Object.keys(shown).map((name) => name.toUpperCase());
    write(items.length > 0 ? columns([head, ...items.map((item) => cells(item, shown, cellMax))]) : 'none');
  };
  return {
    json,
    list(items, shown) {
      over();
      if (json) write(jsonOf(items, 2));
      else table(items, shown);
    },
    row(item, shown) {
      over();
      if (json) write(jsonOf(item, 2));
      else table([item], shown);
    },
    one(item, shown) {
      over();
      if (json) return write(jsonOf(item, 2));
      const rows = Object.entries(shown).flatMap(([name, of]) => {
        const value = plain(String(of(item) ?? ''), Number.MAX_VALUE);
        return value ? [[name, value]] : [];
      });
      write(stdout.isTTY ? columns(rows) : rows.map((row) => row.join('\t')).join('\n'));
    },
    next(item, line) {
      over();
      write(json ? jsonOf(item) : line);
    },
    text(text) {
      over();
      stdout.write(stdout.isTTY ? harmless(text) : text);
    },
    say(line) {
      over();
      stderr.write(`${harmless(line)}\n`);
    },
    progress(line) {
      if (!stderr.isTTY) return;
      stderr.write(`\r\x1b[K${plain(line, 100)}`);
      isOpen = true;
    },
  };
}

/** JSON in which nothing is left that a terminal would obey: it is written as escapes, which mean the same. */
const jsonOf = (value: unknown, indent?: number): string =>
  JSON.stringify(value, undefined, indent).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) =>
    char === '\n' ? char : [...unitsOf(char)].map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join(''),
  );

function* unitsOf(char: string): Generator<number> {
  for (let index = 0; index < char.length; index++) yield char.charCodeAt(index);
}

/** US dollars; null: nobody knows. */
export const money = (usd: number | null): string => (usd === null ? 'unknown' : `$${usd.toFixed(4)}`);

/** A time as people read it: to the second, in UTC as the log has it. */
export const time = (iso: string | null): string =>
  iso === null ? '' : iso.replace('T', ' ').replace(/(\.\d+)?Z$/, 'Z');
