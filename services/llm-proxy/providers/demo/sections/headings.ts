import { keyOf, search } from '../calls.ts';
import type { Findings } from '../findings.ts';
import { code, count, headingsOf } from '../markdown.ts';
import type { Section } from '../section.ts';
import { ofFiles } from '../section.ts';
import { documentsOf, wantsDocuments } from './documents.ts';

const everyHeading = search('^#{1,6} ', { glob: '*.{md,mdx,markdown}', limit: 500 });

export const headings: Section = {
  heading: 'Headings',
  fits: /\b(?:headings?|outline|documents?|documentation|contents)\b/i,
  wants: (findings) => [...wantsDocuments(findings), everyHeading],
  render: (findings) =>
    ofFiles(findings, (files) => {
      const documents = documentsOf(files);
      if (documents.length === 0) return ['There are no Markdown files.'];
      return [
        `${count(documents.length, 'Markdown file')}.`,
        ...documents.flatMap(({ path }) => ['', `${code(path)}${outline(path, findings)}`]),
      ].flatMap((block) => block.split('\n'));
    }),
};

/** From the document where it was read; else from the search, which also takes a comment in code for a heading. */
function outline(path: string, { reads, searches }: Findings): string {
  const document = reads.get(path);
  const found = document
    ? headingsOf(document.text)
    : (searches.get(keyOf(everyHeading)) ?? [])
        .filter((hit) => hit.path === path)
        .map(({ text, line }) => ({ level: text.search(/[^#]/), name: text.replace(/^#+\s*/, ''), line }));
  if (found.length === 0) return document ? ': no headings' : ': not read; the search found no headings in it';
  const how = document ? (document.cut ? ', read in part:' : ':') : ', searched, not read:';
  const lines = found.map(
    ({ level, name, line }) => `${'  '.repeat(Math.max(level, 1) - 1)}- ${code(name)}, line ${line}`,
  );
  return [how, '', ...lines].join('\n');
}
