import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Failure } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import type { Resources } from './resources.ts';
import { readResources } from './resources.ts';
import type { Slots } from './slots.ts';
import type { Question } from './tools/protocol.ts';
import { Answered, lineBytesMax, ready, textCharsMax } from './tools/protocol.ts';
import type { Handed } from './tools/tool.ts';

/** What came of a tool call; `isError` results are for the model to mend. */
export type ToolResult = { isError: boolean; text: string; deliverable?: Handed };

export type ToolHost = {
  /** Runs one call. Throws `unavailable` only when `signal` was aborted or no process could be started. */
  call(tool: string, args: unknown): Promise<ToolResult>;
  [Symbol.asyncDispose](): Promise<void>;
};

type HostOptions = {
  /** The run's folder: the only one that the tools can reach. */
  workspace: string;
  /** The tools that may be called. */
  tools: readonly string[];
  memoryBytes: number;
  /** How long one call may take. */
  timeoutMs: number;
  /** Aborted: the call at hand ends at once. */
  signal: AbortSignal;
  /** Tool processes that may run at a time; this one takes its place with the first call. */
  slots: Slots;
  /** Whether the process is held to the workspace by more than the tools themselves. */
  sandboxed: boolean;
  /** Hears after each call what its process took for it: processor time since the call before, and its most memory so far. */
  took?: (resources: Resources) => void;
};

type Child = { process: ChildProcessWithoutNullStreams; lines: AsyncIterator<string>; stderr(): string };

const childFile = fileURLToPath(new URL('tool-host-child.ts', import.meta.url));
const projectFolder = fileURLToPath(new URL('../../', import.meta.url));
const startMsMax = 20_000;
const stderrCharsMax = 20_000;

/** A process of its own for a run's tools: without this process's environment, files and memory. It starts with the first call. */
export function openToolHost(options: HostOptions): ToolHost {
  let child: Child | undefined;
  let giveBack: (() => void) | undefined;
  let cpuSeconds = 0;

  const account = async (pid: number | undefined) => {
    const now = options.took && pid !== undefined ? await readResources(pid) : undefined;
    if (!now) return;
    options.took?.({ ...now, cpuSeconds: Math.max(0, now.cpuSeconds - cpuSeconds) });
    cpuSeconds = now.cpuSeconds;
  };

  const kill = async () => {
    const { process } = child ?? {};
    child = undefined;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const gone = once(process, 'exit');
    process.kill('SIGKILL');
    await gone;
  };

  return {
    async call(tool, args) {
      options.signal.throwIfAborted();
      giveBack ??= await options.slots.take(options.signal);
      if (!child) cpuSeconds = 0;
      child ??= await startChild(options);
      const { process, lines, stderr } = child;
      process.stdin.write(`${JSON.stringify({ tool, args } satisfies Question)}\n`);
      const end = await within(lines.next(), options.timeoutMs, options.signal);
      await account(process.pid);
      if (end === 'aborted' || end === 'timeout') await kill();
      if (end === 'aborted') throw new Failure('unavailable', 'the tool call was interrupted');
      if (end === 'timeout') return killed(`it took longer than ${options.timeoutMs / 1000} s`);
      const answered = end.done ? undefined : parse(end.value);
      if (answered) return answered;
      await kill();
      return killed(
        /heap out of memory|heap limit|bad_alloc/i.test(stderr())
          ? `it needed more than ${Math.round(options.memoryBytes / 1024 ** 2)} MB of memory`
          : 'its process ended unexpectedly',
      );
    },
    async [Symbol.asyncDispose]() {
      await kill();
      giveBack?.();
    },
  };
}

const killed = (why: string): ToolResult => ({ isError: true, text: `killed: ${why}; ask for less at a time` });

/** What a child says is checked: it may have been taken over by what it read. */
function parse(line: string): ToolResult | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const answered = Answered.safeParse(value);
  if (!answered.success) return undefined;
  const { isError, text, deliverable } = answered.data;
  const result = { isError, text: clip(scrub(text), textCharsMax) };
  if (!deliverable) return result;
  const { base64, path, ...facts } = deliverable;
  const bytes = Buffer.from(base64, 'base64');
  return { ...result, deliverable: { ...facts, bytes, ...(path === undefined ? {} : { path }) } };
}

/** Node's permission model: no other files, no processes, no addons, no threads. */
const permissions = (folder: string): string[] => [
  '--permission',
  // Tools open what lies in the workspace through open folders; see tools/confine.ts.
  ...[folder, `${folder}/*`, '/proc/self/fd/*', projectFolder].map((path) => `--allow-fs-read=${path}`),
  ...[folder, `${folder}/*`, '/proc/self/fd/*'].map((path) => `--allow-fs-write=${path}`),
];

async function startChild(options: HostOptions): Promise<Child> {
  const { workspace, tools, memoryBytes, timeoutMs, signal } = options;
  const folder = realpathSync(workspace);
  const process = spawn(
    globalThis.process.execPath,
    [
      ...(options.sandboxed ? permissions(folder) : []),
      `--max-old-space-size=${Math.max(32, Math.round(memoryBytes / 1024 ** 2))}`,
      '--disable-warning=ExperimentalWarning',
      '--disable-warning=SecurityWarning',
      childFile,
      folder,
      String(timeoutMs + 5_000),
      ...tools,
    ],
    { cwd: folder, env: {}, stdio: 'pipe' },
  );
  let stderr = '';
  process.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk).slice(-stderrCharsMax);
  });
  process.on('error', () => undefined);
  process.stdin.on('error', () => undefined); // it died: its output ends, and that is told
  const lines = linesOf(process.stdout);
  const first = await within(lines.next(), startMsMax, signal);
  if (typeof first === 'object' && !first.done && first.value === ready)
    return { process, lines, stderr: () => stderr };
  process.kill('SIGKILL');
  throw new Failure('unavailable', `the process for tools did not start: ${clip(scrub(stderr.trim()), 500)}`);
}

/** The lines of a stream; it ends at a line that is longer than any answer may be. */
async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    let rest = chunk;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      yield Buffer.concat([...chunks, rest.subarray(0, end)]).toString('utf8');
      chunks = [];
      bytes = 0;
      rest = rest.subarray(end + 1);
    }
    chunks.push(rest);
    bytes += rest.byteLength;
    if (bytes > lineBytesMax) return;
  }
}

/** What a promise brings, or `timeout`, or `aborted`: whichever is first. */
async function within<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T | 'timeout' | 'aborted'> {
  const { promise: stopped, resolve } = Promise.withResolvers<'timeout' | 'aborted'>();
  const timer = setTimeout(() => resolve('timeout'), ms);
  const aborted = () => resolve('aborted');
  signal.addEventListener('abort', aborted);
  if (signal.aborted) aborted();
  try {
    return await Promise.race([promise, stopped]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', aborted);
  }
}
