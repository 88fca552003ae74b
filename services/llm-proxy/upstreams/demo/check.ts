import type { Bound, Criteria, Unit } from './criteria.ts';
import { headingsOf } from './markdown.ts';

const charsMin = 20;

/** Holds a document against criteria: what is wrong with it, and what was found in order. */
export function check(criteria: Criteria, content: string): { problems: string[]; met: string[] } {
  const problems: string[] = [];
  const met: string[] = [];
  const judge = (problem: string | undefined, right: string) => {
    if (problem) problems.push(problem);
    else met.push(right);
  };
  const chars = content.replace(/\s/g, '').length;
  if (chars === 0) return { problems: ['It is empty.'], met };
  const small = criteria.mentions.length > 0 || criteria.bounds.length > 0;
  judge(
    !small && chars < charsMin ? `It is too short: it has only ${chars} characters.` : undefined,
    'It is not empty.',
  );
  for (const name of criteria.headings) judge(headingProblem(name, content), `The heading "${name}" is there.`);
  for (const bound of criteria.bounds) judge(boundProblem(bound, content), `It has ${bound.said}.`);
  const has = (text: string) => content.toLowerCase().includes(text.toLowerCase());
  for (const texts of criteria.mentions) {
    const said = texts.map((text) => `"${text}"`).join(' or ');
    judge(texts.some(has) ? undefined : `It must mention ${said}, but does not.`, `It mentions ${said}.`);
  }
  for (const text of criteria.forbidden)
    judge(has(text) ? `It must not mention "${text}", but does.` : undefined, `It does not mention "${text}".`);
  return { problems, met };
}

/** Numbers, marks and case do not count: `## 1. **Files**` is the heading "Files", and so is `# Files and sizes`. */
const plain = (name: string) =>
  name
    .toLowerCase()
    .replace(/[*_`~]/g, '')
    .replace(/^[\d.)\s]+(?=\S)/, '')
    .replace(/(?<![\s:.])[\s:.]+$/, '')
    .trim();

/** Whether a heading is the one that was asked for. */
export function isHeading(found: string, asked: string): boolean {
  const [a, b] = [plain(found), plain(asked)];
  return a === b || (b !== '' && a.startsWith(b) && /^[^\p{L}\p{N}-]/u.test(a.slice(b.length)));
}

function headingProblem(name: string, content: string): string | undefined {
  const headings = headingsOf(content);
  const found = headings.findIndex((heading) => isHeading(heading.name, name));
  const heading = headings[found];
  if (!heading) return `The heading "${name}" is missing.`;
  const end = headings.slice(found + 1).find(({ level }) => level <= heading.level)?.line ?? Infinity;
  const below = content
    .split('\n')
    .slice(heading.line, end - 1)
    .join('\n');
  return /[\p{L}\p{N}]/u.test(below) ? undefined : `The heading "${name}" has nothing under it.`;
}

function boundProblem({ unit, min, max, said }: Bound, content: string): string | undefined {
  const number = measures[unit](content);
  return number < min || number > max ? `It must have ${said}, but has ${number} ${unit}.` : undefined;
}

const measures: Record<Unit, (content: string) => number> = {
  files: (content) => filesNamed(content).size,
  words: (content) => content.match(/[\p{L}\p{N}][\p{L}\p{N}'’_-]*/gu)?.length ?? 0,
  lines: (content) => content.split('\n').filter((line) => line.trim() !== '').length,
  characters: (content) => content.length,
  headings: (content) => headingsOf(content).length,
  items: (content) => content.match(/^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\S/gm)?.length ?? 0,
};

/** What looks like a file's name. Whether there is such a file cannot be seen from here. */
const filesNamed = (content: string): ReadonlySet<string> =>
  new Set(
    content.match(
      /(?<![\w.@/-])(?:[\w@.-]+\/)*(?:[\w@-][\w@.-]*\.[A-Za-z]\w{0,9}|LICENSE|Makefile|Dockerfile)(?![\w/])/g,
    ),
  );
