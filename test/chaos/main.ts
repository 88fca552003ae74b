import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '#shared/errors.ts';
import type { Options } from './options.ts';
import { readOptions, usage } from './options.ts';
import { table } from './report.ts';
import { runChaos } from './run.ts';

// `npm run chaos -- --seed 7 --minutes 30 --agents 200`: harms real processes by a plan, and checks what must hold all the same.

function optionsOrUsage(): Options {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n\n${usage}\n`);
    process.exit(2);
  }
}

const options = optionsOrUsage();
const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'toka-chaos-')));
// Whoever is told to end ends what it has started, too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
const summary = await runChaos({ ...options, folder }, (line) => void process.stdout.write(`${line}\n`));
await writeFile(join(folder, 'summary.json'), `${JSON.stringify(summary, undefined, 2)}\n`);
process.stdout.write(table(summary));
const isWrong = summary.violations.length > 0;
if (!isWrong && !options.folder) await rm(folder, { recursive: true, force: true });
process.exit(isWrong ? 1 : 0);
