import type { Call } from '../calls.ts';
import { keyOf, search } from '../calls.ts';
import { code, count } from '../markdown.ts';
import type { Section } from '../section.ts';
import { groupBy } from '../section.ts';
import type { Task } from '../task.ts';

const limit = 300;

export const marks: Section = {
  heading: 'Marks',
  fits: /\b(?:marks?|to-?dos?|fixmes?|hacks?)\b/i,
  wants: (_findings, task) => [searchMarks(task)],
  render({ searches }, task) {
    const names = marksOf(task);
    const hits = searches.get(keyOf(searchMarks(task)));
    if (!hits) return [`The marks ${names.join(', ')} could not be searched for.`];
    if (hits.length === 0) return [`No ${names.join(', no ')} was found in the text files of the workspace.`];
    const numbers = names.map((name) => `${hits.filter(({ text }) => text.includes(name)).length} with ${name}`);
    return [
      `${count(hits.length, 'line')}: ${numbers.join(', ')}.`,
      ...(hits.length >= limit ? [`There may be more: the search ends at ${limit}.`] : []),
      ...groupBy(hits, ({ path }) => path)
        .toSorted(([, a], [, b]) => b.length - a.length)
        .flatMap(([path, its]) => [
          '',
          `${code(path)}:`,
          '',
          ...its.map(({ line, text }) => `- line ${line}: ${code(text)}`),
        ]),
    ];
  },
};

/** The marks that the task names, else the usual ones. */
function marksOf({ objective }: Task): string[] {
  const named = objective.match(/\b(?:TODO|FIXME|HACK|XXX|BUG)(?=S?\b|s\b)/g) ?? [];
  return named.length > 0 ? [...new Set(named)] : ['TODO', 'FIXME', 'HACK'];
}

const searchMarks = (task: Task): Call => search(`\\b(?:${marksOf(task).join('|')})\\b`, { limit });
