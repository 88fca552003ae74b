import { execFileSync } from 'node:child_process';
import { closeSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const mib = 1024 ** 2;
const chunk = Buffer.alloc(mib);

/** A disk of a few MiB in memory: only root may mount one, on Linux. */
export type SmallDisk = {
  path: string;
  freeBytes(): number;
  /** Fills it until so many MiB are free; 0 is to the last byte. */
  leave(freeMib: number): void;
  /** Takes away what filled it. */
  empty(): void;
  /** As a disk that the system has found to be damaged. */
  readOnly(is: boolean): void;
  [Symbol.asyncDispose](): Promise<void>;
};

export const canMount = process.platform === 'linux' && process.getuid?.() === 0 && triesWell();

export async function smallDisk(sizeMib: number): Promise<SmallDisk> {
  const path = await mkdtemp(join(tmpdir(), 'toka-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', path]);
  const filler = join(path, 'filler');
  const freeBytes = () => {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  };
  return {
    path,
    freeBytes,
    leave(freeMib) {
      const file = openSync(filler, 'a');
      try {
        for (let over = freeBytes() - freeMib * mib; over > 0; over = freeBytes() - freeMib * mib)
          writeSync(file, chunk, 0, Math.min(over, mib));
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
      } finally {
        closeSync(file);
      }
    },
    empty: () => rmSync(filler, { force: true }),
    readOnly: (is) => void execFileSync('mount', ['-o', `remount,${is ? 'ro' : 'rw'}`, path]),
    async [Symbol.asyncDispose]() {
      execFileSync('umount', ['--lazy', path]);
      await rm(path, { recursive: true, force: true });
    },
  };
}

function triesWell(): boolean {
  const path = execFileSync('mktemp', ['-d'], { encoding: 'utf8' }).trim();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'ignore' });
    execFileSync('umount', [path]);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(path, { recursive: true, force: true });
  }
}
