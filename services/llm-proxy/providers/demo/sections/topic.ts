import type { Call } from '../calls.ts';
import { keyOf, searchWord } from '../calls.ts';
import type { Findings } from '../findings.ts';
import { code } from '../markdown.ts';
import type { Section } from '../section.ts';
import type { Task } from '../task.ts';

/** Where some words stand: the answer to a question that no rule knows more about. */
export const topics = (heading: string, words: readonly string[]): Section => ({
  heading,
  fits: /^$/,
  wants: () => words.map(searchWord),
  render: (findings) => words.flatMap((word) => whereIs(word, searchWord(word), findings)),
});

const stopWords: ReadonlySet<string> = new Set(
  'about above after again against because before being between could describe does doing during each every explain files find folder from further give have having here into itself list make many more most much named other over project repository same should show some such tell text than that their them then there these they this those through under until very want what when where which while will with work workspace would write your'.split(
    ' ',
  ),
);
const wordsMax = 3;

/** Where the question's own words stand in the files. */
export const questionWords: Section = {
  heading: 'Where its words are found',
  fits: /\b(?:findings?|results?|answers?)\b/i,
  wants: (_findings, task) => wordsOf(task).map(searchWord),
  render(findings, task) {
    const words = wordsOf(task);
    if (words.length === 0) return ['What was asked names nothing that could be searched for.'];
    return words.flatMap((word) => whereIs(word, searchWord(word), findings));
  },
};

function wordsOf({ objective }: Task): string[] {
  const plain = objective.match(/[\p{L}_][\p{L}\p{N}_-]{3,40}/gu) ?? [];
  const unique = [...new Set(plain.map((word) => word.toLowerCase()))].filter((word) => !stopWords.has(word));
  return unique.toSorted((a, b) => b.length - a.length).slice(0, wordsMax);
}

function whereIs(word: string, call: Call, { searches }: Findings): string[] {
  const hits = searches.get(keyOf(call));
  const shown = `"${word}"`;
  if (!hits) return [`${shown} was not searched for.`];
  if (hits.length === 0) return [`${shown} is in no text file of the workspace.`];
  return [
    `${shown} is found here:`,
    '',
    ...hits.map(({ path, line, text }) => `- ${code(path)}, line ${line}: ${code(text)}`),
    '',
  ];
}
