import { listAll } from '../calls.ts';
import type { File } from '../findings.ts';
import { isCode, isTest, stemOf } from '../languages.ts';
import { code, count, table } from '../markdown.ts';
import type { Section } from '../section.ts';
import { groupBy, ofFiles } from '../section.ts';

export const tests: Section = {
  heading: 'Tests',
  fits: /\btest(?:s|ing)?\b/i,
  wants: () => [listAll],
  render: (findings) =>
    ofFiles(findings, (files) => {
      const all = files.filter(({ path }) => isCode(path));
      if (all.length === 0) return ['There are no files of code.'];
      const testFiles = all.filter(({ path }) => isTest(path));
      const sources = all.filter(({ path }) => !isTest(path));
      return [
        `${count(testFiles.length, 'test file')} beside ${count(sources.length, 'source file')}, told apart by their names and folders.`,
        '',
        ...table(
          ['Folder', 'Test files', 'Source files'],
          groupBy(all, ({ path }) => folderOf(path)).map(([folder, its]) => {
            const number = its.filter(({ path }) => isTest(path)).length;
            return [code(folder), number, its.length - number];
          }),
        ),
        '',
        ...missing(sources, testFiles),
      ];
    }),
};

/** At most two folders deep, so that the table stays one. */
const folderOf = (path: string) => path.split('/').slice(0, -1).slice(0, 2).join('/') || '.';

function missing(sources: readonly File[], testFiles: readonly File[]): string[] {
  const tested = new Set(testFiles.map(({ path }) => stemOf(path)));
  const without = sources.filter(({ path }) => !tested.has(stemOf(path)));
  if (without.length === 0) return ['Every source file has a test of its name.'];
  return [
    `${count(without.length, 'source file')} of ${sources.length} without a test of the same name, which does not prove that nothing tests them:`,
    '',
    ...without.map(({ path }) => `- ${code(path)}`),
  ];
}
