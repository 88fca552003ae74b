import { basename } from 'node:path/posix';
import { read } from './calls.ts';
import type { File, Findings } from './findings.ts';
import { code, count, headingsOf, proseLines } from './markdown.ts';
import type { Section } from './section.ts';
import { unlisted } from './section.ts';

const readsMax = 10;
const isDocument = ({ path }: File) => /\.(?:md|markdown)$/i.test(path);
const isReadme = ({ path }: File) => /^readme(?:\.\w+)?$/i.test(basename(path));
const depth = ({ path }: File) => path.split('/').length;

/** The documents, those first that a newcomer sees first. */
const documentsOf = ({ files = [] }: Findings): File[] =>
  files
    .filter(isDocument)
    .toSorted((a, b) => depth(a) - depth(b) || Number(isReadme(b)) - Number(isReadme(a)) || (a.path < b.path ? -1 : 1));

/** Each document's headings, in order. */
export const headingsSection: Section = {
  heading: 'Headings',
  words: /\b(?:headings?|outlines?|document\w*|markdown|readme|docs)\b/i,
  calls: (findings) =>
    documentsOf(findings)
      .slice(0, readsMax)
      .map(({ path }) => read(path)),
  lines(findings) {
    if (!findings.files) return unlisted;
    const documents = documentsOf(findings);
    if (documents.length === 0) return ['There are no Markdown files in the workspace.'];
    const unread = documents.filter(({ path }) => !findings.reads.has(path));
    return [
      ...documents.flatMap(({ path }) => outline(path, findings)),
      ...(unread.length > 0 ? [`Not read: ${unread.map(({ path }) => code(path)).join(', ')}.`] : []),
      ...(documents.some(isReadme) ? [] : ['A newcomer will miss a README: there is none.']),
    ];
  },
};

function outline(path: string, { reads }: Findings): string[] {
  const document = reads.get(path);
  if (!document) return [];
  const headings = headingsOf(document.text);
  const said = headings.length === 0 ? 'no headings' : count(headings.length, 'heading');
  return [
    `${code(path)}: ${said}${document.cut ? ' in the part that was read' : ''}`,
    '',
    ...headings.map(({ level, name }) => `${'  '.repeat(level - 1)}- ${code(name)}`),
    '',
  ];
}

/** What the README says first: the start of any report that asks for nothing the rules know by name. */
export const overviewSection: Section = {
  heading: 'Overview',
  words: /\b(?:overview|summar\w*|about|what is|describe|purpose)\b/i,
  calls: (findings) =>
    documentsOf(findings)
      .filter(isReadme)
      .slice(0, 1)
      .map(({ path }) => read(path)),
  lines(findings) {
    const readme = documentsOf(findings).find(isReadme);
    const text = readme && findings.reads.get(readme.path)?.text;
    const { files } = findings;
    const has = files ? `The workspace has ${count(files.length, 'file')}.` : 'The files could not be listed.';
    if (!readme || text === undefined) return [has, 'There is no README that could be read.'];
    const first = proseLines(text)
      .filter((line) => /^\s{0,3}[\p{L}\p{N}*_[]/u.test(line))
      .slice(0, 6);
    return [has, `${code(readme.path)} begins:`, '', ...first.map((line) => `- ${code(line)}`)];
  },
};
