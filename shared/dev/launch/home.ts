import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import type { Room } from '#shared/disk.ts';
import { diskFailure, enoughBytes, inMib, roomOf, stateOf } from '#shared/disk.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { LogFile } from './log-file.ts';
import { openLog } from './log-file.ts';
import type { ProcessMark } from './processes.ts';
import { end, isAlive, markOf } from './processes.ts';

const Mark = z.object({ name: z.string(), pid: z.number().int(), started: z.string() });
const Run = z.object({ launcher: Mark, children: z.array(Mark) });
type Run = z.infer<typeof Run>;
const orphanMs = 8_000;
const busy = 5;
const lockMsMax = 500;
/** Far more than a launcher and its children need. */
const noteBytes = 4_096;

/** The data folder of this launcher, and of no other while it runs. */
export type Home = {
  path: string;
  /** Notes a child, so that the next launcher finds it if this one dies. */
  note(name: string, pid: number): void;
  /** A program's log; that of the start before is kept beside it. */
  log(name: string): LogFile;
  [Symbol.dispose](): void;
};

/**
 * Takes the folder. Throws `conflict` where another launcher has it, and `disk-full` where nothing could be written there; ends what
 * a dead one left running.
 */
export async function openHome(folder: string, say: (line: string) => void): Promise<Home> {
  const path = resolve(folder);
  await needRoom(path);
  try {
    mkdirSync(join(path, 'logs'), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw diskFailure(error, path) ?? new Failure('invalid', `${path} cannot be used for data: ${messageOf(error)}`);
  }
  using stack = new DisposableStack();
  const file = join(path, 'run.json');
  const before = read(file);
  stack.use(lock(path, before));
  // One of an earlier version holds no lock.
  if (before && isAlive(before.launcher)) throw taken(path, before);
  await endOrphans(before?.children.filter(isAlive) ?? [], say);
  const note = stack.use(openNote(file, say));
  const owned = stack.move();
  return {
    path,
    note: (name, pid) => note.add(markOf(name, pid)),
    log: (name) => openLog(join(path, 'logs', `${name}.log`), say),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Whether there is enough to start with, and to go on for a while. */
async function needRoom(path: string): Promise<void> {
  const [folder, room] = await nearest(path);
  const state = stateOf(room, 'full');
  if (state === 'read-only')
    throw new Failure(
      'disk-full',
      `${path}: the disk under ${folder} can only be read. Use another folder: npm start -- --data DIR`,
    );
  if (state === 'full')
    throw new Failure(
      'disk-full',
      `${path}: the disk has ${inMib(room.freeBytes)} free, and Toka needs ${inMib(enoughBytes)} to start. Make room, or use another folder: npm start -- --data DIR`,
    );
}

/** The folder, or the nearest above it that is there. */
async function nearest(path: string): Promise<[string, Room]> {
  const room = await roomOf(path).catch(() => undefined);
  if (room) return [path, room];
  if (dirname(path) === path) throw new Failure('invalid', `${path} cannot be read`);
  return nearest(dirname(path));
}

/** A lock that the system holds for this process: it ends with it, however that ends, and two at once cannot have it. */
function lock(path: string, holder: Run | undefined): Disposable {
  const file = join(path, 'lock');
  try {
    // Of several that ask at the same moment SQLite may refuse each for another's sake: they try again for a while.
    const database = new DatabaseSync(file, { timeout: lockMsMax });
    try {
      database.exec('BEGIN EXCLUSIVE'); // and it stays open
    } catch (error) {
      database.close();
      throw error;
    }
    return { [Symbol.dispose]: () => database.close() };
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && error.errcode === busy) throw taken(path, holder);
    throw new Failure('invalid', `${file} cannot be locked: ${messageOf(error)}`);
  }
}

const taken = (path: string, holder: Run | undefined) =>
  new Failure(
    'conflict',
    holder && isAlive(holder.launcher)
      ? `Toka runs on ${path} already (process ${holder.launcher.pid}). Stop it first, or use another folder: npm start -- --data DIR`
      : `another start has just taken ${path}`,
  );

async function endOrphans(orphans: readonly ProcessMark[], say: (line: string) => void): Promise<void> {
  if (orphans.length === 0) return;
  say(`ending what an earlier start left running: ${orphans.map(({ name }) => name).join(', ')}`);
  // Services first: they hand back what they are at while NATS is still there.
  const isServer = ({ name }: ProcessMark) => name.endsWith('-server');
  await end(
    orphans.filter((each) => !isServer(each)),
    orphanMs,
  );
  await end(orphans.filter(isServer), orphanMs);
}

/** Who runs here, in a file that keeps its size: a change of it needs no room on a disk that has become full. */
function openNote(file: string, say: (line: string) => void): { add(mark: ProcessMark): void } & Disposable {
  const children = new Map<string, ProcessMark>();
  const launcher = markOf('launcher', process.pid);
  const content = () => JSON.stringify({ launcher, children: [...children.values()] }).padEnd(noteBytes);
  rmSync(file, { force: true });
  writeFileSync(file, content(), { mode: 0o600 });
  const descriptor = openSync(file, 'r+');
  return {
    add(mark) {
      children.set(mark.name, mark);
      try {
        writeSync(descriptor, content(), 0);
      } catch (error) {
        say(
          `! ${file} cannot be written (${messageOf(error)}): if this start is killed, the next will not find ${mark.name}`,
        );
      }
    },
    [Symbol.dispose]() {
      closeSync(descriptor);
      rmSync(file, { force: true });
    },
  };
}

function read(file: string): Run | undefined {
  try {
    return Run.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch {
    return undefined; // none, or one that was cut off: then there is nothing to go by
  }
}
