const languages: Readonly<Record<string, string>> = {
  ts: 'TypeScript',
  tsx: 'TypeScript',
  mts: 'TypeScript',
  cts: 'TypeScript',
  js: 'JavaScript',
  jsx: 'JavaScript',
  mjs: 'JavaScript',
  cjs: 'JavaScript',
  py: 'Python',
  rb: 'Ruby',
  go: 'Go',
  rs: 'Rust',
  java: 'Java',
  kt: 'Kotlin',
  swift: 'Swift',
  scala: 'Scala',
  c: 'C',
  h: 'C',
  cc: 'C++',
  cpp: 'C++',
  hpp: 'C++',
  cs: 'C#',
  php: 'PHP',
  lua: 'Lua',
  ex: 'Elixir',
  exs: 'Elixir',
  sh: 'Shell',
  bash: 'Shell',
  ps1: 'PowerShell',
  sql: 'SQL',
  vue: 'Vue',
  svelte: 'Svelte',
  html: 'HTML',
  css: 'CSS',
  scss: 'CSS',
  md: 'Markdown',
  mdx: 'Markdown',
  markdown: 'Markdown',
  txt: 'Text',
  rst: 'Text',
  json: 'JSON',
  jsonc: 'JSON',
  yml: 'YAML',
  yaml: 'YAML',
  toml: 'TOML',
  xml: 'XML',
  csv: 'CSV',
  svg: 'SVG',
};
const noCode: ReadonlySet<string> = new Set([
  'HTML',
  'CSS',
  'Markdown',
  'Text',
  'JSON',
  'YAML',
  'TOML',
  'XML',
  'CSV',
  'SVG',
  'Other',
]);

const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1);

/** A file's language, by the ending of its name. */
export function languageOf(path: string): string {
  const ending = /\.([a-z0-9]+)$/i.exec(nameOf(path))?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(languages, ending) ? (languages[ending] ?? 'Other') : 'Other';
}

export const isCode = (path: string) => !noCode.has(languageOf(path));

/** Whether a file of code is a test, by its name or by its folder's. */
export const isTest = (path: string) =>
  isCode(path) && (/(?:^|\/)(?:tests?|__tests__|specs?)\//.test(path) || testName.test(nameOf(path)));

const testName = /[._-](?:test|spec)s?\.\w+$|^test_/;

/** What a file is called without its ending, and without what makes it a test. */
export const stemOf = (path: string) =>
  nameOf(path)
    .replace(/\.\w+$/, '')
    .replace(/[._-](?:test|spec)s?$/, '')
    .replace(/^test_/, '')
    .toLowerCase();
