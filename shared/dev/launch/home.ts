import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { Failure } from '#shared/errors.ts';
import type { ProcessMark } from './processes.ts';
import { end, isAlive, markOf } from './processes.ts';

const Mark = z.object({ name: z.string(), pid: z.number().int(), started: z.string() });
const Run = z.object({ launcher: Mark, children: z.array(Mark) });
const orphanMs = 8_000;

/** The data folder of this launcher, and of no other while it runs. */
export type Home = {
  path: string;
  /** Notes a child, so that the next launcher finds it if this one dies. */
  note(name: string, pid: number): void;
  /** Where a program's log goes; that of the start before is kept beside it. */
  logFile(name: string): string;
  [Symbol.dispose](): void;
};

/** Takes the folder. Throws `conflict` where another launcher has it; ends what a dead one left running. */
export async function openHome(folder: string, say: (line: string) => void): Promise<Home> {
  const path = resolve(folder);
  mkdirSync(join(path, 'logs'), { recursive: true, mode: 0o700 });
  const file = join(path, 'run.json');
  const before = read(file);
  if (before && isAlive(before.launcher))
    throw new Failure(
      'conflict',
      `Toka runs on ${path} already (process ${before.launcher.pid}). Stop it first, or use another folder: npm start -- --data DIR`,
    );
  const orphans = before?.children.filter(isAlive) ?? [];
  if (orphans.length > 0) {
    say(`ending what an earlier start left running: ${orphans.map(({ name }) => name).join(', ')}`);
    // Services first: they hand back what they are at while NATS is still there.
    const isServer = ({ name }: ProcessMark) => name.endsWith('-server');
    await end(
      orphans.filter((each) => !isServer(each)),
      orphanMs,
    );
    await end(orphans.filter(isServer), orphanMs);
  }
  rmSync(file, { force: true });
  const children = new Map<string, ProcessMark>();
  const launcher = markOf('launcher', process.pid);
  const content = () => JSON.stringify({ launcher, children: [...children.values()] });
  try {
    writeFileSync(file, content(), { flag: 'wx', mode: 0o600 });
  } catch {
    throw new Failure('conflict', `another start is taking ${path} at this moment`);
  }
  return {
    path,
    note(name, pid) {
      children.set(name, markOf(name, pid));
      writeFileSync(`${file}.new`, content(), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    },
    logFile(name) {
      const log = join(path, 'logs', `${name}.log`);
      if (existsSync(log)) renameSync(log, `${log}.1`);
      return log;
    },
    [Symbol.dispose]: () => rmSync(file, { force: true }),
  };
}

function read(file: string): z.infer<typeof Run> | undefined {
  try {
    return Run.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined; // none, or one that was cut off: then there is nothing to go by
  }
}
