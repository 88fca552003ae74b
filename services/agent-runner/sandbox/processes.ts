import type { ChildProcess, StdioOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { proxyPort } from './protocol.ts';

// Inside the sandbox: how the executor starts processes, and how it sees to it that none outlives its call.

const killedAtBytes = 64 * 1024 ** 2;
const headChars = 10_000;
const tailChars = 20_000;
const graceMs = 300;

export type Ended = {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  /** Both outputs as they came; of a long one its beginning and its end. */
  output: string;
  killed?: 'time' | 'output' | 'interrupted' | undefined;
};

export type RunOptions = {
  timeoutMs: number;
  cwd?: string;
  env?: Record<string, string>;
  input?: string | Buffer;
  signal?: AbortSignal | undefined;
};

export type Processes = {
  /** Runs a command to its end, or its end to it. */
  run(command: readonly string[], options: RunOptions): Promise<Ended>;
  /** Starts a command that is left running; it is not swept away before `release` is called with it. */
  start(
    command: readonly string[],
    options: { cwd?: string; env?: Record<string, string>; stdio: StdioOptions },
  ): ChildProcess;
  /** Ends a process and its whole group. */
  kill(child: ChildProcess): void;
  release(child: ChildProcess): void;
  /** Ends every process that no call and nobody who was started on purpose has a claim to. */
  sweep(): void;
  /** Lets processes find the proxy. */
  useProxy(): void;
  limit(processesMax: number, fileBytesMax: number): void;
};

type Options = {
  workspace: string;
  /** Where processes may write beside the workspace. */
  scratch: string;
  /** The program that confines; undefined: they run with no more than a process group of their own. */
  confine: string | undefined;
};

const readable = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/etc',
  '/opt',
  '/proc',
  '/sys/devices/system/cpu',
  '/dev/random',
  '/dev/urandom',
];
const devices = ['/dev/null', '/dev/zero', '/dev/full', '/dev/tty', '/dev/pts', '/dev/ptmx', '/dev/shm'];

export function openProcesses({ workspace, scratch, confine }: Options): Processes {
  const kept = new Set<ChildProcess>();
  const running = new Set<ChildProcess>();
  let proxied = false;
  let limits: string[] = [];
  const node = process.execPath.replace(/\/[^/]*$/, '');
  const around = (command: readonly string[]) =>
    confine === undefined
      ? command
      : [
          confine,
          ...limits,
          ...[workspace, scratch, ...devices].flatMap((path) => ['--rw', path]),
          ...[...readable, node].flatMap((path) => ['--ro', path]),
          '--',
          ...command,
        ];
  const environment = (more: Record<string, string> = {}) => ({
    PATH: `${node}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: scratch,
    TMPDIR: scratch,
    LANG: 'C.UTF-8',
    TERM: 'dumb',
    CI: 'true',
    ...(proxied ? proxySettings : {}),
    ...more,
  });
  const begin: Processes['start'] = (command, { cwd = workspace, env, stdio }) => {
    const [program = '', ...args] = around(command);
    const child = spawn(program, args, { cwd, env: environment(env), stdio, detached: true });
    child.on('error', () => undefined);
    return child;
  };
  const kill = (child: ChildProcess) => {
    if (child.pid === undefined) return;
    for (const target of [-child.pid, child.pid]) {
      try {
        process.kill(target, 'SIGKILL');
      } catch {
        // it has ended
      }
    }
  };

  const sweep = () => {
    if (confine === undefined || running.size > 0) return;
    const roots = new Set([...kept].map(({ pid }) => pid));
    for (const pid of strangers(roots)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended
      }
    }
  };

  return {
    async run(command, options) {
      const child = begin(command, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
      running.add(child);
      try {
        return await collect(child, options, () => kill(child));
      } finally {
        running.delete(child);
        kill(child);
        sweep();
      }
    },
    start(command, options) {
      const child = begin(command, options);
      kept.add(child);
      return child;
    },
    kill,
    release: (child) => void kept.delete(child),
    sweep,
    useProxy() {
      proxied = true;
    },
    limit(processesMax, fileBytesMax) {
      limits = ['--processes', String(processesMax), '--file-bytes', String(fileBytesMax)];
    },
  };
}

const proxy = `http://127.0.0.1:${proxyPort}`;
const proxySettings: Record<string, string> = {
  HTTP_PROXY: proxy,
  HTTPS_PROXY: proxy,
  http_proxy: proxy,
  https_proxy: proxy,
  NODE_USE_ENV_PROXY: '1',
};

/** Waits for a process's end, and puts one to it at a limit. What its heirs still write then is not waited for. */
async function collect(
  child: ChildProcess,
  { timeoutMs, input, signal }: RunOptions,
  kill: () => void,
): Promise<Ended> {
  const { promise, resolve } = Promise.withResolvers<Pick<Ended, 'exitCode' | 'signal'>>();
  const text = createTail();
  let killed: Ended['killed'];
  const end = (why: NonNullable<Ended['killed']>) => {
    killed ??= why;
    kill();
  };
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      if (text.add(chunk) > killedAtBytes) end('output');
    });
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(input);
  child.once('error', (error) => {
    text.add(Buffer.from(`${error.message}\n`));
    resolve({ exitCode: 127, signal: null });
  });
  child.once('exit', (exitCode, signalName) => {
    const late = setTimeout(() => resolve({ exitCode, signal: signalName }), graceMs);
    child.once('close', () => {
      clearTimeout(late);
      resolve({ exitCode, signal: signalName });
    });
  });
  const timer = setTimeout(() => end('time'), timeoutMs);
  const interrupt = () => end('interrupted');
  signal?.addEventListener('abort', interrupt);
  if (signal?.aborted) interrupt();
  try {
    return { ...(await promise), output: text.toString(), killed };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', interrupt);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** Text of which only the beginning and the end are kept. */
export function createTail(head = headChars, tail = tailChars) {
  const decoder = new TextDecoder();
  let beginning = '';
  let end = '';
  let left = 0;
  let bytes = 0;
  return {
    /** Answers how many bytes have come in all. */
    add(chunk: Buffer): number {
      bytes += chunk.byteLength;
      const text = decoder.decode(chunk, { stream: true });
      const room = head - beginning.length;
      beginning += text.slice(0, Math.max(0, room));
      end += text.slice(Math.max(0, room));
      if (end.length > tail) {
        left += end.length - tail;
        end = end.slice(-tail);
      }
      return bytes;
    },
    toString: () => (left > 0 ? `${beginning}\n[… ${left} characters were left out …]\n${end}` : beginning + end),
  };
}

/** Processes of this PID namespace that are neither its first, nor this one, nor descend from `roots`. */
function strangers(roots: ReadonlySet<number | undefined>): number[] {
  if (!existsSync('/proc/self/stat')) return [];
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = tryRead(`/proc/${name}/stat`);
    if (stat) parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const spared = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at))
      if (roots.has(at)) return true;
    return false;
  };
  return [...parents.keys()].filter((pid) => pid !== 1 && pid !== process.pid && pid !== process.ppid && !spared(pid));
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
