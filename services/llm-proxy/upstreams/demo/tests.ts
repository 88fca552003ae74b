import { dirname } from 'node:path/posix';
import { isSource } from './files.ts';
import { code, count, table } from './markdown.ts';
import type { Section } from './section.ts';
import { unlisted } from './section.ts';

const isTest = (path: string) =>
  isSource(path) && /(?:^|\/)(?:tests?|__tests__|spec)\/|[._-](?:test|spec)\.\w+$|(?:^|\/)test_\w+\.py$/i.test(path);
const rowsMax = 60;

/** Where tests are, and where they are not. */
export const testsSection: Section = {
  heading: 'Tests',
  words: /\b(?:tests?|testing|coverage)\b/i,
  calls: () => [],
  lines({ files }) {
    if (!files) return unlisted;
    const sources = files.filter(({ path }) => isSource(path)).map(({ path }) => path);
    const tests = sources.filter(isTest);
    if (sources.length === 0) return ['There are no source files, so there is nothing to test.'];
    const named = tests.join('\n').toLowerCase();
    const folders = [
      ...Map.groupBy(
        sources.filter((path) => !isTest(path)),
        dirname,
      ),
    ].toSorted();
    const rows = folders.slice(0, rowsMax).map(([folder, each]) => {
      const mentioned = each.filter((path) => named.includes(stem(path))).length;
      return [code(folder), each.length, mentioned];
    });
    return [
      `${count(tests.length, 'test file')} stand beside ${count(sources.length - tests.length, 'source file')}.`,
      '',
      ...table(['Folder', 'Source files', 'Of these with a test file of like name'], rows),
      '',
      ...tests.slice(0, rowsMax).map((path) => `- ${code(path)}`),
    ];
  },
};

const stem = (path: string) => (path.split('/').at(-1) ?? '').replace(/\..*$/, '').toLowerCase();
