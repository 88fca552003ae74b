import { basename } from 'node:path/posix';
import { z } from 'zod';
import { read } from './calls.ts';
import type { Findings } from './findings.ts';
import { code, count, table } from './markdown.ts';
import type { Section } from './section.ts';

const manifests = new Set([
  'package.json',
  'pyproject.toml',
  'requirements.txt',
  'go.mod',
  'Cargo.toml',
  'pom.xml',
  'Gemfile',
]);
const readsMax = 5;
const rowsMax = 100;

const manifestsOf = ({ files = [] }: Findings) =>
  files.filter(({ path }) => manifests.has(basename(path))).slice(0, readsMax);

/** What the project needs, by what its manifests say. */
export const dependenciesSection: Section = {
  heading: 'Dependencies',
  words: /\b(?:dependenc\w*|packages?|librar(?:y|ies)|modules?)\b/i,
  calls: (findings) => manifestsOf(findings).map(({ path }) => read(path)),
  lines(findings) {
    const found = manifestsOf(findings);
    if (found.length === 0) return ['There is no manifest that names dependencies.'];
    return found.flatMap(({ path }) => {
      const text = findings.reads.get(path)?.text;
      if (text === undefined) return [`${code(path)} could not be read.`, ''];
      if (basename(path) === 'package.json') return [...packageLines(path, text), ''];
      return [`${code(path)} has ${count(text.split('\n').filter((line) => line.trim() !== '').length, 'line')}.`, ''];
    });
  },
};

const Versions = z.record(z.string(), z.string()).catch({});
const Manifest = z.object({ dependencies: Versions, devDependencies: Versions });

function packageLines(path: string, text: string): string[] {
  let parsed: z.infer<typeof Manifest>;
  try {
    parsed = Manifest.parse(JSON.parse(text));
  } catch {
    return [`${code(path)} is not JSON that can be read.`];
  }
  const rows = [
    ...Object.entries(parsed.dependencies).map(([name, version]) => [code(name), code(version), 'at run time']),
    ...Object.entries(parsed.devDependencies).map(([name, version]) => [code(name), code(version), 'for development']),
  ];
  if (rows.length === 0) return [`${code(path)} names no dependencies.`];
  return [
    `${code(path)} names ${rows.length}:`,
    '',
    ...table(['Package', 'Version', 'Needed'], rows.slice(0, rowsMax)),
  ];
}
