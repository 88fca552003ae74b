import type { ChildProcess, StdioOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { devices, readable } from './mounts.ts';
import { proxyPort } from './protocol.ts';
import { createTail } from './tail.ts';
import { isLiving, strangers } from './usage.ts';

// Inside the sandbox: how the executor starts processes, and how it sees to it that none outlives its call.

const killedAtBytes = 64 * 1024 ** 2;
const graceMs = 300;
/** Of those that multiply while they are ended. */
const sweepsMax = 1_000;
const calmLooks = 3;
const goneMsMax = 5_000;
const lookMs = 10;
/** A socket's memory is seen by no watcher: there may be few of them. */
const openFilesMax = 256;

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
  /** Starts a command that is left running; it is not swept away before `release` is called with it. `apart`: where no other one can write. */
  start(
    command: readonly string[],
    options: { cwd?: string; env?: Record<string, string>; stdio: StdioOptions; apart?: boolean },
  ): ChildProcess;
  /** Ends a process and its whole group. */
  kill(child: ChildProcess): void;
  release(child: ChildProcess): void;
  /** Ends every process that no call and nobody who was started on purpose has a claim to. */
  sweep(): void;
  /** Ends all that is left running, too. */
  quiet(): void;
  /** Lets processes find the proxy. */
  useProxy(): void;
  limit(processesMax: number, fileBytesMax: number): void;
};

type Options = {
  workspace: string;
  /** Where processes may write beside the workspace. */
  scratch: string;
  /** A folder for the homes of those that are apart. */
  homes: string;
  /** The program that confines; undefined: they run with no more than a process group of their own. */
  confine: string | undefined;
};

export function openProcesses({ workspace, scratch, homes, confine }: Options): Processes {
  const kept = new Set<ChildProcess>();
  const running = new Set<ChildProcess>();
  let proxied = false;
  let limits: string[] = [];
  const begin: Processes['start'] = (command, { apart = false, cwd, env, stdio }) => {
    const home = apart ? mkdtempSync(join(homes, 'home-')) : scratch;
    const paths = [workspace, scratch, ...(apart ? [home] : []), ...devices].flatMap((path) => ['--rw', path]);
    const others = [...readable, nodeFolder, ...packages].flatMap((path) => ['--ro', path]);
    const around = confine === undefined ? [] : [confine, ...limits, ...bounds, ...paths, ...others, '--'];
    const [program = '', ...args] = [...around, ...command];
    const all = { ...environment(home), ...(proxied ? proxySettings : {}), ...env };
    const child = spawn(program, args, { cwd: cwd ?? (apart ? home : workspace), env: all, stdio, detached: true });
    child.on('error', () => undefined);
    if (apart) child.once('close', () => rm(home, { recursive: true, force: true }).catch(() => undefined));
    return child;
  };
  const keptPids = () => new Set([...kept].map(({ pid }) => pid));
  const sweep = () => {
    if (confine === undefined || running.size > 0) return;
    // Where nobody is to be spared but the first process and this one, the kernel ends all others at once: none can slip away.
    if (kept.size === 0 && process.ppid <= 1) return end(-1);
    const ended = new Set<number>();
    // Who forks and goes while /proc is read may stand in neither place: looks that find nothing new must follow each other.
    for (let turn = 0, calm = 0; turn < sweepsMax && calm < calmLooks; turn++) {
      const found = strangers(keptPids());
      calm = found.every((pid) => ended.has(pid)) ? calm + 1 : 0;
      for (const pid of found) {
        end(pid);
        ended.add(pid);
      }
    }
  };
  /** Until those that were swept away have ended: on a busy machine that takes them a while. */
  const gone = async () => {
    for (let ms = 0; confine !== undefined && running.size === 0 && ms < goneMsMax; ms += lookMs) {
      if (!strangers(keptPids()).some(isLiving)) return;
      await delay(lookMs);
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
        await gone();
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
    quiet() {
      for (const child of kept) kill(child);
      kept.clear();
      sweep();
    },
    useProxy() {
      proxied = true;
    },
    limit(processesMax, fileBytesMax) {
      limits = ['--processes', String(processesMax), '--file-bytes', String(fileBytesMax)];
    },
  };
}

const nodeFolder = dirname(process.execPath);
const bounds = ['--files', String(openFilesMax), '--close', '3'];
/** MCP servers that came with Toka's own packages are started from there. */
const packages = [fileURLToPath(new URL('../../../node_modules', import.meta.url))];

const environment = (home: string) => ({
  PATH: `${nodeFolder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
  HOME: home,
  TMPDIR: home,
  LANG: 'C.UTF-8',
  TERM: 'dumb',
  CI: 'true',
});

function kill({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  end(-pid);
  end(pid);
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended
  }
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
