import { readFile } from 'node:fs/promises';

/** What a process took so far: processor time in seconds, and the most memory it held, in bytes. */
export type Resources = { cpuSeconds: number; peakBytes: number };

const ticksPerSecond = 100; // USER_HZ of Linux, whatever the kernel's own clock

/** Reads /proc (see proc(5)); undefined where there is none, or the process is gone. */
export async function readResources(pid: number): Promise<Resources | undefined> {
  try {
    const [stat, status] = await Promise.all(
      ['stat', 'status'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8')),
    );
    // The second field is the program's name, which may hold spaces and brackets.
    const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ') ?? [];
    const ticks = Number(fields[11]) + Number(fields[12]);
    const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status ?? '')?.[1]);
    return Number.isFinite(ticks) && Number.isFinite(peak)
      ? { cpuSeconds: ticks / ticksPerSecond, peakBytes: peak * 1024 }
      : undefined;
  } catch {
    return undefined;
  }
}
