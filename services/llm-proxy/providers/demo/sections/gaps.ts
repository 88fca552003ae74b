import { posix } from 'node:path';
import type { File, Findings } from '../findings.ts';
import { code, headingsOf, proseLines } from '../markdown.ts';
import type { Section } from '../section.ts';
import { ofFiles } from '../section.ts';
import { documentsOf, readmeOf, wantsDocuments } from './documents.ts';

const subjects: readonly (readonly [string, RegExp])[] = [
  ['how to install or start it', /install|set.?up|getting started|quick ?start|start|run it/i],
  ['how to use it', /us(?:e|age|ing)|examples?|how to|commands?|tutorial|guide/i],
  ['how to test it or contribute', /tests?|contribut|develop/i],
];

export const gaps: Section = {
  heading: 'What a newcomer will miss',
  fits: /\b(?:miss(?:es|ing)?|gaps?|newcomers?)\b/i,
  wants: wantsDocuments,
  render: (findings) =>
    ofFiles(findings, (files) => {
      const lines = [
        ...missingSubjects(files, findings),
        ...poorDocuments(files, findings),
        ...brokenLinks(files, findings),
      ];
      return lines.length > 0 ? lines.map((line) => `- ${line}`) : ['Nothing that the rules look for is missing.'];
    }),
};

function missingSubjects(files: readonly File[], { reads }: Findings): string[] {
  const readme = readmeOf(files);
  const all = [...reads.values()].flatMap(({ text }) => headingsOf(text));
  return [
    ...(readme && !readme.path.includes('/') ? [] : ['There is no README at the top.']),
    ...(files.some(({ path }) => /^LICEN[CS]E/i.test(path)) ? [] : ['There is no licence file at the top.']),
    ...subjects.flatMap(([subject, words]) =>
      all.some(({ name }) => words.test(name)) ? [] : [`No heading of the documents that were read tells ${subject}.`],
    ),
  ];
}

function poorDocuments(files: readonly File[], { reads }: Findings): string[] {
  const documents = documentsOf(files);
  const unread = documents.filter(({ path }) => !reads.has(path)).length;
  return [
    ...documents.flatMap(({ path }) => {
      const text = reads.get(path)?.text;
      if (text === undefined || headingsOf(text).length > 0) return [];
      return [`${code(path)} ${text.trim() === '' ? 'is empty' : 'has no headings'}.`];
    }),
    ...(unread > 0 ? [`Not told: ${unread} of ${documents.length} documents were not read.`] : []),
  ];
}

/** Links between files that lead to nothing that was listed. */
function brokenLinks(files: readonly File[], { reads, leftOut }: Findings): string[] {
  if (leftOut > 0) return [];
  const known = new Set(files.flatMap(({ path }) => [path, ...above(path)]));
  return [...reads].flatMap(([path, { text }]) =>
    proseLines(text).flatMap((line, index) =>
      [...line.matchAll(/\]\(([^()\s#?]+)[^()]*\)/g)].flatMap(([, target = '']) => {
        if (/^(?:[a-z][a-z0-9+.-]*:|\/)/i.test(target)) return [];
        const aim = posix.join(posix.dirname(path), target).replace(/\/$/, '');
        if (aim === '.' || aim.startsWith('..') || known.has(aim)) return [];
        return [`${code(path)}, line ${index + 1}, links to ${code(target)}, which was not found.`];
      }),
    ),
  );
}

/** The folders that a path leads through. */
const above = (path: string) => [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index));
