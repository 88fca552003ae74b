import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const cache = 'node_modules/.cache/toka-bench';
const packages = ['@restatedev/restate-server@1.7.12', '@restatedev/restate-sdk@1.17.2'];
const installMsMax = 120_000;

export type Restate = { server: string; sdk: string };

/** Restate's server and SDK from npm, kept for the next time; no part of this project's own packages. */
export async function installRestate(): Promise<Restate> {
  const modules = resolve(cache, 'node_modules');
  // What the package's own launcher starts: a process that can be ended, and whose processor time is its own.
  const program = `restate-server-${process.platform}-${process.arch}`;
  const server = join(modules, '@restatedev', program, 'bin', 'restate-server');
  const sdk = join(modules, '@restatedev', 'restate-sdk', 'dist', 'index.js');
  if (!existsSync(server) || !existsSync(sdk)) {
    await mkdir(cache, { recursive: true });
    const args = [
      'install',
      '--prefix',
      cache,
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--save-exact',
      ...packages,
    ];
    await promisify(execFile)('npm', args, { timeout: installMsMax });
  }
  return { server, sdk: pathToFileURL(sdk).href };
}
