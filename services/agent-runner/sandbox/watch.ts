import { readdirSync, readFileSync } from 'node:fs';

// Soft limits, for where no cgroup is ours to set: the tree of a sandbox's processes is looked at from outside every 50 ms.

const everyMs = 50;
const burstMs = 1_000;
const ticksPerSecond = 100; // USER_HZ of Linux
const threadsMax = 256; // a process has one at least
const processesMax = 1_024; // those that have ended and wait to be collected too

export type Exceeded = 'memory' | 'processes';
export type Watch = {
  /** Most memory at a time since it was last asked, in bytes. */
  takePeak(): number;
  stop(): void;
};

type Options = {
  /** The sandbox's first process as this machine counts: its child is the first inside, and that one's child the executor. */
  pid: number;
  memoryBytes: number;
  /** Processors that all together may use. */
  cpus: number;
  /** Hears of a limit that was passed, before anything is ended for it. */
  exceeded(limit: Exceeded): void;
};

/** Holds a tree of processes to memory (all but the executor are killed), to processors (stopped and continued) and to a number. */
export function watchTree({ pid, memoryBytes, cpus, exceeded }: Options): Watch {
  let peak = 0;
  let lastCpuMs: number | undefined;
  let budgetMs = burstMs;
  let stopped = false;
  const look = () => {
    const [inside] = childrenOf(pid);
    const [executor] = inside === undefined ? [] : childrenOf(inside);
    if (inside === undefined || executor === undefined) return;
    const all = treeOf(inside, processesMax);
    const tools = all.filter((each) => each !== inside && each !== executor);
    const sizes = all.map(sizeOf);
    const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0);
    const threads = sizes.reduce((sum, size) => sum + size.threads, 0);
    peak = Math.max(peak, bytes);
    if (threads > threadsMax || all.length >= processesMax) {
      exceeded('processes');
      signal([pid, inside], 'SIGKILL'); // with the first process of a namespace all others end
      return;
    }
    if (bytes > memoryBytes) {
      exceeded('memory');
      signal(tools.length > 0 && sizeOf(executor).bytes < memoryBytes ? tools : [pid, inside], 'SIGKILL');
      return;
    }
    const cpuMs = all.reduce((sum, each) => sum + cpuMsOf(each), 0);
    budgetMs = Math.min(burstMs, budgetMs + cpus * everyMs - Math.max(0, cpuMs - (lastCpuMs ?? cpuMs)));
    lastCpuMs = cpuMs;
    if (budgetMs < 0 || stopped) {
      stopped = budgetMs < 0;
      signal(tools, stopped ? 'SIGSTOP' : 'SIGCONT');
    }
  };
  const timer = setInterval(look, everyMs);
  return {
    takePeak() {
      look();
      const taken = peak;
      peak = 0;
      return taken;
    },
    stop: () => clearInterval(timer),
  };
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // it has ended
    }
  }
}

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
};

/** Any thread of a process may have started them. */
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      read(`/proc/${pid}/task/${thread}/children`).trim().split(' ').filter(Boolean).map(Number),
    );
  } catch {
    return []; // it has ended
  }
}

/** All that descend from a process, itself included; no more than about `max`. */
function treeOf(root: number, max: number): number[] {
  const found = [root];
  for (let at = 0; at < found.length && found.length < max; at++) {
    const pid = found[at] ?? 0;
    found.push(...childrenOf(pid));
  }
  return found;
}

/** Memory of its own and what it shares with others through memory alone, and its threads: none where it has ended and was not collected yet. */
function sizeOf(pid: number): { bytes: number; threads: number } {
  const status = read(`/proc/${pid}/status`);
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0);
  const ended = /^State:\s+[ZX]/m.test(status);
  return { bytes: (field('RssAnon') + field('RssShmem')) * 1024, threads: ended ? 0 : field('Threads') };
}

/** Its own time and that of children that have ended: what a child took passes to its parent, and is never lost. */
function cpuMsOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 15);
  return (fields.reduce((sum, field) => sum + Number(field), 0) * 1000) / ticksPerSecond || 0;
}
