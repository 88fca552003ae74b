import { readFile } from 'node:fs/promises';

export const names = ['direct', 'bare', 'portkey', 'toka'] as const;
export type Name = (typeof names)[number];

/** Something between the load and the upstream, open for the whole bench. */
export type Contender = {
  port: number;
  /** Headers that it wants. */
  headers: Record<string, string>;
  /** `gateway` is the process that is compared; the others are shown beside it. */
  pids: { gateway?: number[]; [beside: string]: number[] | undefined };
  [Symbol.asyncDispose](): Promise<void>;
};

/** The most memory that a process has had so far, in MiB. */
export async function peakMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? Number.NaN) / 1024;
}
