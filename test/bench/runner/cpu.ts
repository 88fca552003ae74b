import { readFile } from 'node:fs/promises';

/** The kernel's clock for /proc, the same on every Linux. */
const ticksPerSecond = 100;

/** Processor milliseconds that a process has used so far. */
async function cpuMsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / ticksPerSecond) * 1000;
}

/** Starts to count; answers how to end with what each kind of process has used since. */
export async function countCpu(kinds: Record<string, number[]>): Promise<() => Promise<Record<string, number>>> {
  const sums = async () =>
    Object.fromEntries(
      await Promise.all(
        Object.entries(kinds).map(async ([kind, pids]) => {
          const used = await Promise.all(pids.map(cpuMsOf));
          return [kind, used.reduce((sum, each) => sum + each, 0)] as const;
        }),
      ),
    );
  const before = await sums();
  return async () => {
    const after = await sums();
    return Object.fromEntries(Object.entries(after).map(([kind, ms]) => [kind, ms - (before[kind] ?? 0)]));
  };
}
