export type Heading = { level: number; name: string; line: number };

/** The headings of a Markdown text, without what only looks like one: lines of code, and front matter. */
export function headingsOf(text: string): Heading[] {
  const lines = proseLines(text);
  return lines.flatMap((line, index) => {
    const [, marks, said] = /^ {0,3}(#{1,6})(?:[ \t](.*))?$/.exec(line) ?? [];
    const name = said
      ?.trim()
      .replace(/(?:^|[ \t])#+$/, '')
      .trim();
    if (marks && name) return [{ level: marks.length, name, line: index + 1 }];
    const under = /^ {0,3}(=+|-{3,})\s*$/.exec(lines[index + 1] ?? '')?.[1];
    if (!under || !/^ {0,3}[^\s#>|*+-]/.test(line)) return [];
    return [{ level: under.startsWith('=') ? 1 : 2, name: line.trim(), line: index + 1 }];
  });
}

/** A text's lines, with those of code blocks and front matter left empty. */
export function proseLines(text: string): string[] {
  let fence = '';
  return text.split(/\r?\n/).map((line, index) => {
    const mark =
      /^\s*(`{3,}|~{3,})/.exec(line)?.[1] ?? (/^---\s*$/.test(line) && (index === 0 || fence === '---') ? '---' : '');
    if (fence === '') {
      fence = mark;
      return mark ? '' : line;
    }
    if (mark.startsWith(fence)) fence = '';
    return '';
  });
}

/** A text of a file's, on one line, without control characters, and as code: nothing in it can pass for a part of the document around it. */
export function code(text: string): string {
  const plain = text
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .replaceAll('`', "'")
    .trim();
  return `\`${plain.length > 160 ? `${plain.slice(0, 160)}…` : plain || ' '}\``;
}

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const row = (cells: readonly (string | number)[]) =>
    `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|')).join(' | ')} |`;
  return [row(head), row(head.map(() => '---')), ...rows.map(row)];
}

export const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
