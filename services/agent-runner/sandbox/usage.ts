import { existsSync, readdirSync, readFileSync } from 'node:fs';

// Inside the sandbox: what /proc tells of processes, see proc(5).

/** Processes of this PID namespace that are neither its first, nor this one, nor descend from `roots`; those among them that ended just now too. */
export function strangers(roots: ReadonlySet<number | undefined>): number[] {
  if (!existsSync('/proc/self/stat')) return [];
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = tryRead(`/proc/${name}/stat`);
    // One that is gone by now may have left another behind.
    parents.set(Number(name), stat ? Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) : 0);
  }
  const spared = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at))
      if (roots.has(at)) return true;
    return false;
  };
  return [...parents.keys()].filter((pid) => pid !== 1 && pid !== process.pid && pid !== process.ppid && !spared(pid));
}

/** Whether a process has not ended. One that was killed goes on until it is its turn on a processor, if only to end. */
export function isLiving(pid: number): boolean {
  const stat = tryRead(`/proc/${pid}/stat`);
  return stat !== undefined && !'ZX'.includes(stat[stat.lastIndexOf(')') + 2] ?? 'Z');
}

function tryRead(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

const ticksPerSecond = 100; // USER_HZ of Linux, whatever the kernel's own clock

/** What this process and all that it started took so far; the most memory at a time is what the cgroup says, 0 where it is not there. */
export function resourcesSoFar(): { cpuSeconds: number; peakBytes: number } {
  const stat = tryRead('/proc/self/stat') ?? '';
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  const peak = tryRead('/sys/fs/cgroup/memory.peak') ?? tryRead('/sys/fs/cgroup/memory/memory.max_usage_in_bytes');
  return { cpuSeconds: (Number.isFinite(ticks) ? ticks : 0) / ticksPerSecond, peakBytes: Number(peak ?? 0) || 0 };
}

/** How often the kernel has ended a process of this cgroup for want of memory. */
export function outOfMemoryKills(): number {
  const text = tryRead('/sys/fs/cgroup/memory.events') ?? tryRead('/sys/fs/cgroup/memory/memory.oom_control') ?? '';
  return Number(/^oom_kill (\d+)/m.exec(text)?.[1] ?? 0);
}
