import { keyOf, searchWord } from './calls.ts';
import { code } from './markdown.ts';
import type { Section } from './section.ts';

/** Where a word stands: for a heading or a mention that is asked for and that the rules know nothing else about. */
export const wordSection = (heading: string, word: string): Section => ({
  heading,
  words: /$^/,
  calls: () => [searchWord(word)],
  lines({ searches }) {
    const hits = searches.get(keyOf(searchWord(word)));
    if (!hits) return [`The workspace was not searched for "${word}".`];
    if (hits.length === 0) return [`"${word}" stands nowhere in the workspace.`];
    return [
      `"${word}" stands here:`,
      '',
      ...hits.map(({ path, line, text }) => `- ${code(path)} line ${line}: ${code(text)}`),
    ];
  },
});
