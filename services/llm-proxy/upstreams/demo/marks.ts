import { keyOf, search } from './calls.ts';
import { code, count } from './markdown.ts';
import type { Section } from './section.ts';

const find = search('\\b(?:TODO|FIXME|HACK|XXX)\\b', { limit: 300 });

/** What people marked as left to do. */
export const marksSection: Section = {
  heading: 'Marks',
  words: /\b(?:todos?|fixmes?|hacks?|marks?)\b/i,
  calls: () => [find],
  lines({ searches }) {
    const hits = searches.get(keyOf(find));
    if (!hits) return ['The files could not be searched.'];
    if (hits.length === 0) return ['There is no TODO, FIXME, HACK or XXX mark in the workspace.'];
    const files = [...Map.groupBy(hits, ({ path }) => path)].toSorted((a, b) => b[1].length - a[1].length);
    return [
      `${count(hits.length, 'line')} in ${count(files.length, 'file')} with TODO, FIXME, HACK or XXX; the most first.`,
      '',
      ...files.flatMap(([path, each]) => [
        `- ${code(path)}`,
        ...each.map(({ line, text }) => `  - line ${line}: ${code(text)}`),
      ]),
    ];
  },
};
