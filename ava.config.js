import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Where the tests' processes keep what they load, compiled and without its types: that takes half of the time in which a service or a sandbox
 * starts, and hundreds are started. Node writes it when a process ends, which those that are killed do not: so what they load is put there first.
 * In a sandbox, where none of it can be written, it is looked for under the user there.
 */
const NODE_COMPILE_CACHE = fileURLToPath(new URL('node_modules/.cache/tests', import.meta.url));
if (!existsSync(NODE_COMPILE_CACHE)) {
  mkdirSync(NODE_COMPILE_CACHE, { recursive: true });
  const services = ['agent-runner', 'gateway', 'llm-proxy', 'scheduler', 'store'].map((name) => `${name}/main.ts`);
  const executor = ['answer', 'jobs', 'processes', 'workspace'].map((name) => `agent-runner/sandbox/${name}.ts`);
  const imports = [...services, ...executor].map((file) => {
    const url = new URL(`services/${file}`, import.meta.url);
    return `await import(${JSON.stringify(url)});`;
  });
  const args = ['--input-type=module', '--eval', `${imports.join('\n')} process.exit();`];
  spawnSync(process.execPath, args, { env: { NODE_COMPILE_CACHE }, stdio: 'inherit' });
  const [own] = readdirSync(NODE_COMPILE_CACHE);
  const there = own?.replace(/\d+$/, '10001');
  if (own && there && there !== own) symlinkSync(own, join(NODE_COMPILE_CACHE, there));
}

/** Those that take minutes begin first: what is left at the end is short, and both processors have it. */
const longest = [
  'kill-matrix',
  'chaos/short',
  'restore',
  'chaos.test',
  'scheduling',
  'full-disk',
  'work',
  'abuse',
  'start',
  'people',
];

const rank = (file) => {
  const found = longest.findIndex((name) => file.includes(name));
  return found === -1 ? longest.length : found;
};

// biome-ignore lint/style/noDefaultExport: ava takes its configuration so
export default {
  extensions: ['ts'],
  files: ['test/**/*.test.ts'],
  timeout: '3m',
  workerThreads: false,
  environmentVariables: { NODE_COMPILE_CACHE },
  sortTestFiles: (a, b) => rank(a) - rank(b) || a.localeCompare(b),
};
