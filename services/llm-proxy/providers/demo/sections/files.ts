import { listAll } from '../calls.ts';
import { code, count, size, table } from '../markdown.ts';
import type { Section } from '../section.ts';
import { ofFiles, sum } from '../section.ts';

const largestMax = 10;

export const files: Section = {
  heading: 'Files',
  fits: /\b(?:files?|inventory|sizes?|list)\b/i,
  wants: () => [listAll],
  render: (findings) =>
    ofFiles(findings, (all) => {
      const largest = all.toSorted((a, b) => b.size - a.size).slice(0, largestMax);
      return [
        `${count(all.length, 'file')}, ${size(sum(all))} together. The largest:`,
        '',
        ...table(
          ['File', 'Size'],
          largest.map((file) => [code(file.path), size(file.size)]),
        ),
        '',
        'All of them:',
        '',
        ...all.map((file) => `- ${code(file.path)}, ${size(file.size)}`),
      ];
    }),
};
