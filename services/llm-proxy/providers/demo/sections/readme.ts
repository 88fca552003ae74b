import { listAll, read } from '../calls.ts';
import type { Findings } from '../findings.ts';
import { code, headingsOf, proseLines } from '../markdown.ts';
import type { Section } from '../section.ts';
import { readmeOf } from './documents.ts';

const linesMax = 6;

/** What the workspace says of itself. */
export const readme: Section = {
  heading: 'Overview',
  fits: /\b(?:overview|summary|about|introduction|purpose|description)\b/i,
  wants: (findings) => [listAll, read(readmePath(findings))],
  render(findings) {
    const path = readmePath(findings);
    const document = findings.reads.get(path);
    if (!document) return ['There is no README that could be read.'];
    const titles = headingsOf(document.text);
    const first = proseLines(document.text).filter((line) => /^\s*[\p{L}\p{N}"“*_]/u.test(line));
    return [
      `${code(path)} says of it:`,
      '',
      ...first.slice(0, linesMax).map((line) => `> ${code(line)}`),
      ...(first.length === 0 ? ['> nothing in plain sentences'] : []),
      '',
      titles.length > 0 ? `Its headings: ${titles.map(({ name }) => code(name)).join(', ')}.` : 'It has no headings.',
    ];
  },
};

/** Without a list it is tried under its usual name. */
const readmePath = ({ files }: Findings) => readmeOf(files ?? [])?.path ?? 'README.md';
