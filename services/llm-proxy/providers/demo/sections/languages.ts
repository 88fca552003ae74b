import { listAll } from '../calls.ts';
import { languageOf } from '../languages.ts';
import { size, table } from '../markdown.ts';
import type { Section } from '../section.ts';
import { groupBy, ofFiles, sum } from '../section.ts';

export const languages: Section = {
  heading: 'Languages',
  fits: /\b(?:languages?|technolog(?:y|ies))\b/i,
  wants: () => [listAll],
  render: (findings) =>
    ofFiles(findings, (files) => {
      const total = Math.max(sum(files), 1);
      const rows = groupBy(files, ({ path }) => languageOf(path))
        .map(([language, its]) => ({ language, number: its.length, bytes: sum(its) }))
        .toSorted((a, b) => b.bytes - a.bytes);
      return [
        'By the endings of the files’ names.',
        '',
        ...table(
          ['Language', 'Files', 'Size', 'Share'],
          rows.map(({ language, number, bytes }) => [
            language,
            number,
            size(bytes),
            `${Math.round((100 * bytes) / total)} %`,
          ]),
        ),
      ];
    }),
};
