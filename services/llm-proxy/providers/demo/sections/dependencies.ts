import { z } from 'zod';
import { listAll, read } from '../calls.ts';
import type { Findings } from '../findings.ts';
import { code, table } from '../markdown.ts';
import type { Section } from '../section.ts';
import { byDepth, ofFiles } from '../section.ts';

const readsMax = 4;
const isManifest = /(?:^|\/)(?:package\.json|requirements[\w-]*\.txt|pyproject\.toml|Cargo\.toml|go\.mod|Gemfile)$/;

export const dependencies: Section = {
  heading: 'Dependencies',
  fits: /\b(?:dependenc(?:y|ies)|packages?|librar(?:y|ies)|modules?)\b/i,
  wants: (findings) => [listAll, ...manifests(findings).map((path) => read(path))],
  render: (findings) =>
    ofFiles(findings, () => {
      const paths = manifests(findings);
      if (paths.length === 0) return ['No file was found that declares dependencies.'];
      return paths.flatMap((path) => [...declared(path, findings.reads.get(path)), '']);
    }),
};

const manifests = ({ files }: Findings): string[] =>
  byDepth((files ?? []).filter(({ path }) => isManifest.test(path)))
    .slice(0, readsMax)
    .map(({ path }) => path);

type Dependency = readonly [name: string, version: string, kind: string];

function declared(path: string, document: { text: string; cut: boolean } | undefined): string[] {
  if (!document) return [`${code(path)} could not be read.`];
  const found = path.endsWith('package.json') ? fromPackageJson(document.text) : fromLines(path, document.text);
  if (!found) return [`${code(path)} was read, but is no package.json that can be understood.`];
  const part = document.cut ? ', in the part that was read' : '';
  if (found.length === 0) return [`${code(path)} declares no dependencies${part}.`];
  return [
    `${code(path)} declares ${found.length === 1 ? 'one dependency' : `${found.length} dependencies`}${part}:`,
    '',
    ...table(
      ['Name', 'Version', 'Kind'],
      found.map(([name, version, kind]) => [code(name), version ? code(version) : 'any', kind]),
    ),
  ];
}

const kinds = ['dependencies', 'devDependencies', 'peerDependencies', 'optionalDependencies'] as const;
const Names = z.record(z.string(), z.string()).catch({});
const PackageJson = z.object(Object.fromEntries(kinds.map((kind) => [kind, Names])));

function fromPackageJson(text: string): Dependency[] | undefined {
  try {
    const manifest = PackageJson.safeParse(JSON.parse(text)).data;
    return (
      manifest &&
      kinds.flatMap((kind) =>
        Object.entries(manifest[kind] ?? {}).map(([name, version]) => [name, version, kind] as const),
      )
    );
  } catch {
    return undefined;
  }
}

const shapes: readonly (readonly [file: RegExp, part: RegExp | undefined, line: RegExp])[] = [
  [/\.txt$/, undefined, /^([\w.-]+)(?:\[[^\]]*\])?\s*([=<>~!][^#;]*)?/],
  [/go\.mod$/, undefined, /^(?:require\s+|\t)([\w.-]+\.[\w.-]+\/\S+)\s+(v\S+)/],
  [/Gemfile$/, undefined, /^\s*gem\s+["']([^"']+)["'](?:\s*,\s*["']([^"']+)["'])?/],
  [/Cargo\.toml$/, /dependencies\]?$/, /^([\w-]+)\s*=\s*(?:\{.*?version\s*=\s*)?"?([^"{}]*)/],
  [
    /pyproject\.toml$/,
    /dependencies/,
    /^\s*["']?([A-Za-z][\w.-]*)(?:\[[^\]]*\])?\s*["']?\s*=?\s*["']?([=<>~!^\d][^"',]*)?/,
  ],
];

/** Line by line, by rule of thumb: enough to name what is there. */
function fromLines(path: string, text: string): Dependency[] {
  const [, part, shape] = shapes.find(([file]) => file.test(path)) ?? [];
  if (!shape) return [];
  let inside = part === undefined;
  return text.split(/\r?\n/).flatMap((line) => {
    const table = /^\[+([^\]]+)\]+\s*$/.exec(line)?.[1];
    if (part && table) inside = part.test(table);
    else if (part && /^dependencies\s*=\s*\[/.test(line)) inside = true;
    else if (part && /^\]/.test(line)) inside = false;
    else if (inside && !/^\s*(?:#|$)/.test(line)) {
      const [, name, version = ''] = shape.exec(line) ?? [];
      return name ? [[name, version.trim(), 'dependencies'] as const] : [];
    }
    return [];
  });
}
