import { extname } from 'node:path/posix';
import type { File } from './findings.ts';
import { code, count, size, table } from './markdown.ts';
import type { Section } from './section.ts';
import { unlisted } from './section.ts';

const rowsMax = 150;
const languages: Readonly<Record<string, string>> = {
  '.ts': 'TypeScript',
  '.tsx': 'TypeScript',
  '.js': 'JavaScript',
  '.mjs': 'JavaScript',
  '.jsx': 'JavaScript',
  '.py': 'Python',
  '.go': 'Go',
  '.rs': 'Rust',
  '.java': 'Java',
  '.c': 'C',
  '.h': 'C',
  '.cpp': 'C++',
  '.rb': 'Ruby',
  '.php': 'PHP',
  '.sh': 'Shell',
  '.sql': 'SQL',
  '.html': 'HTML',
  '.css': 'CSS',
  '.md': 'Markdown',
  '.json': 'JSON',
  '.toml': 'TOML',
  '.yaml': 'YAML',
  '.yml': 'YAML',
};

export const languageOf = (path: string): string => languages[extname(path).toLowerCase()] ?? 'other';
export const isSource = (path: string): boolean =>
  !['Markdown', 'JSON', 'TOML', 'YAML', 'other'].includes(languageOf(path));
const sum = (files: readonly File[]) => files.reduce((total, file) => total + file.size, 0);
const bySize = (a: readonly [string, File[]], b: readonly [string, File[]]) => sum(b[1]) - sum(a[1]);

/** Which files there are, by folder and one by one. */
export const filesSection: Section = {
  heading: 'Files',
  words: /\b(?:inventor\w*|files?|folders?|director\w*|sizes?)\b/i,
  calls: () => [],
  lines({ files, leftOut }) {
    if (!files) return unlisted;
    if (files.length === 0) return ['There are no files in the workspace.'];
    const folders = Map.groupBy(files, ({ path }) => (path.includes('/') ? `${path.split('/')[0]}/` : '(top level)'));
    const largest = files.toSorted((a, b) => b.size - a.size).slice(0, rowsMax);
    return [
      `${count(files.length, 'file')}, ${size(sum(files))} in all.${leftOut > 0 ? ` ${leftOut} more entries were not listed.` : ''}`,
      '',
      ...table(
        ['Folder', 'Files', 'Size', 'Mostly'],
        [...folders].toSorted(bySize).map(([name, each]) => [code(name), each.length, size(sum(each)), mostly(each)]),
      ),
      '',
      files.length > rowsMax ? `The ${rowsMax} largest:` : 'One by one, the largest first:',
      '',
      ...table(
        ['File', 'Size', 'Language'],
        largest.map(({ path, size: bytes }) => [code(path), size(bytes), languageOf(path)]),
      ),
    ];
  },
};

/** In which languages they are written, by their names' endings. */
export const languagesSection: Section = {
  heading: 'Languages',
  words: /\blanguages?\b/i,
  calls: () => [],
  lines({ files }) {
    if (!files) return unlisted;
    if (files.length === 0) return ['There are no files, so there is no language.'];
    const groups = [...Map.groupBy(files, ({ path }) => languageOf(path))].toSorted(bySize);
    return table(
      ['Language', 'Files', 'Size'],
      groups.map(([name, each]) => [name, each.length, size(sum(each))]),
    );
  },
};

function mostly(files: readonly File[]): string {
  const [first] = [...Map.groupBy(files, ({ path }) => languageOf(path))].toSorted(bySize);
  return first?.[0] ?? '';
}
