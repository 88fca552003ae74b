import { listAll, read } from '../calls.ts';
import type { File, Findings } from '../findings.ts';
import { languageOf } from '../languages.ts';
import { code, count, headingsOf, size } from '../markdown.ts';
import type { Section } from '../section.ts';
import { groupBy, ofFiles, sum, topFolder } from '../section.ts';

const readsMax = 3;

const purposes: readonly (readonly [RegExp, string])[] = [
  [/^(?:src|lib|source|app|pkg|internal)$/, 'source code'],
  [/^(?:tests?|specs?|__tests__|e2e)$/, 'tests'],
  [/^(?:docs?|documentation)$/, 'documentation'],
  [/^(?:config|configs|configuration|settings)$/, 'configuration'],
  [/^(?:scripts|bin|tools)$/, 'scripts and commands'],
  [/^(?:services|apps|packages)$/, 'parts that run or are published on their own'],
  [/^(?:shared|common)$/, 'what other parts share'],
  [/^(?:examples?|samples?|demo)$/, 'examples'],
  [/^(?:assets|public|static)$/, 'files that are served as they are'],
  [/^\.(?:github|gitlab|ci|circleci)$/, 'continuous integration'],
];

export const folders: Section = {
  heading: 'Folders',
  fits: /\b(?:folders?|director(?:y|ies)|structure|layout)\b/i,
  wants: (findings) => [
    listAll,
    ...(findings.files ?? [])
      .filter(({ path }) => /^[^/]+\/README\.md$/i.test(path))
      .slice(0, readsMax)
      .map(({ path }) => read(path)),
  ],
  render: (findings) =>
    ofFiles(findings, (files) =>
      groupBy(files, ({ path }) => topFolder(path)).map(([folder, its]) => {
        if (folder === '.') return `- at the top: ${count(its.length, 'file')}, ${size(sum(its))}`;
        return `- ${code(`${folder}/`)}: ${count(its.length, 'file')}, ${size(sum(its))}, mostly ${mostly(its)}; ${purpose(folder, findings)}`;
      }),
    ),
};

function mostly(files: readonly File[]): string {
  const [first] = groupBy(files, ({ path }) => languageOf(path)).toSorted(([, a], [, b]) => b.length - a.length);
  return first && first[0] !== 'Other' ? first[0] : 'of no language that is known by its ending';
}

/** As the folder's own README is headed, else by the folder's name. */
function purpose(folder: string, { reads }: Findings): string {
  const own = [...reads].find(([path]) => path.startsWith(`${folder}/`) && /^[^/]+\/README\.md$/i.test(path));
  const [title] = own ? headingsOf(own[1].text) : [];
  if (own && title) return `${code(own[0])} calls it ${code(title.name)}`;
  const [, meaning] = purposes.find(([name]) => name.test(folder)) ?? [];
  return meaning ? `by its name: ${meaning}` : 'what it is for cannot be told by its name';
}
