import type { Call } from '../calls.ts';
import { listAll, read } from '../calls.ts';
import type { File, Findings } from '../findings.ts';
import { byDepth } from '../section.ts';

const readsMax = 8;
const isReadme = (path: string) => /(?:^|\/)README\b[^/]*$/i.test(path);

/** The Markdown files: those nearest to the top first, of these the README. */
export const documentsOf = (files: readonly File[]): File[] =>
  byDepth(
    files
      .filter(({ path }) => /\.(?:md|mdx|markdown)$/i.test(path))
      .toSorted((a, b) => Number(isReadme(b.path)) - Number(isReadme(a.path))),
  );

/** The README that a newcomer opens first. */
export const readmeOf = (files: readonly File[]): File | undefined =>
  byDepth(files.filter(({ path }) => isReadme(path)))[0];

/** Reads the documents; where there is no list to choose from, it tries what there mostly is. */
export const wantsDocuments = ({ files }: Findings): Call[] => [
  listAll,
  ...documentsOf(files ?? [])
    .slice(0, readsMax)
    .map(({ path }) => read(path)),
];
