import { access, constants, statfs } from 'node:fs/promises';
import { Failure, messageOf } from './errors.ts';
import type { Metrics } from './metrics.ts';
import { repeat } from './repeat.ts';

const everyMs = 5_000;
const mib = 1024 ** 2;

/** With less than this nothing new is taken on: what is left is for ending what is at hand. */
export const reserveBytes = 64 * mib;
/** With so much, work is taken on again: not at the same figure, or it would go back and forth. */
export const enoughBytes = 1.5 * reserveBytes;
/** Files and folders that can still be made. */
const reserveFiles = 1_000;

/** What a disk has left for a folder. `filesFree`: undefined where the file system sets no number. */
export type Room = { freeBytes: number; sizeBytes: number; filesFree: number | undefined; isWritable: boolean };
export type RoomState = 'ok' | 'full' | 'read-only';

/** Throws where the folder is not there. */
export async function roomOf(folder: string): Promise<Room> {
  const { bavail, bsize, blocks, files, ffree } = await statfs(folder);
  return {
    freeBytes: bavail * bsize,
    sizeBytes: blocks * bsize,
    filesFree: files > 0 ? ffree : undefined,
    isWritable: await isWritable(folder),
  };
}

async function isWritable(folder: string): Promise<boolean> {
  try {
    await access(folder, constants.W_OK);
    return true;
  } catch (error) {
    return codeOf(error) !== 'EROFS'; // by any other reason it is no matter of the disk
  }
}

/** `was`: how it stood before. */
export function stateOf({ freeBytes, filesFree = Number.POSITIVE_INFINITY, isWritable }: Room, was: RoomState = 'ok') {
  if (!isWritable) return 'read-only';
  const needed = was === 'full' ? enoughBytes : reserveBytes;
  return freeBytes < needed || filesFree < reserveFiles ? 'full' : 'ok';
}

/** What a person should know of a disk that takes nothing; `folder` names it. */
export function roomProblem(folder: string, { freeBytes, sizeBytes, filesFree }: Room, state: RoomState): string {
  if (state === 'ok') return 'ok';
  if (state === 'read-only') return `the disk under ${folder} can only be read`;
  const files = filesFree !== undefined && filesFree < reserveFiles ? ` and room for ${filesFree} files` : '';
  return `the disk under ${folder} is full: ${inMib(freeBytes)} of ${inMib(sizeBytes)}${files} are left, and work goes on with ${inMib(enoughBytes)}`;
}

export const inMib = (bytes: number): string => `${Math.floor(bytes / mib)} MiB`;

const diskCodes: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS']);

/** An error of a write as what it means: `disk-full` where there is no room, or the disk can only be read; else undefined. */
export function diskFailure(error: unknown, what: string): Failure | undefined {
  if (!diskCodes.has(codeOf(error) ?? '')) return undefined;
  return new Failure('disk-full', `${what}: ${messageOf(error)}`, { cause: error, retryAfterMs: 10_000 });
}

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

type Watcher = {
  stack: AsyncDisposableStack;
  metrics: Metrics;
  check(name: string, ask: () => Promise<string>): void;
};

/** Shows how much room is left where this instance writes: `volumes` names its folders. One that is not there yet is passed over. */
export function watchDisk({ stack, metrics, check }: Watcher, volumes: Record<string, string>): void {
  const states = new Map<string, RoomState>();
  const look = async ([volume, folder]: [string, string]): Promise<string> => {
    const room = await roomOf(folder).catch(() => undefined);
    if (!room) return 'ok';
    metrics.diskFree.set({ volume }, room.freeBytes);
    metrics.diskSize.set({ volume }, room.sizeBytes);
    const state = stateOf(room, states.get(volume));
    states.set(volume, state);
    return roomProblem(volume, room, state);
  };
  const ask = async () => {
    const said = await Promise.all(Object.entries(volumes).map(look));
    return said.find((problem) => problem !== 'ok') ?? 'ok';
  };
  check('disk', ask);
  repeat(stack, everyMs, async () => void (await ask()));
}
