import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

export const bullmqVersion = '6.7.0';
const folder = resolve('node_modules/.cache/toka-bench-bullmq');
const packages = [`bullmq@${bullmqVersion}`, 'ioredis@5.11.1'];

/** BullMQ from npm, kept for the next time; no part of this project's own packages. Answers the file to import. */
export async function installBullmq(): Promise<string> {
  const file = join(folder, 'node_modules', 'bullmq', 'dist', 'cjs', 'index.js');
  if (!existsSync(file)) {
    await mkdir(folder, { recursive: true });
    const args = ['install', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', ...packages];
    await promisify(execFile)('npm', args, { timeout: 120_000 });
  }
  return file;
}
