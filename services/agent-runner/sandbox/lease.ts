import type { Duplex } from 'node:stream';
import type { Killed } from '#shared/contracts/events.ts';
import { Failure } from '#shared/errors.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import type { Handed, Image } from '../tools/tool.ts';
import type { Process, Start } from './protocol.ts';
import { Answered, answerBytesMax, bundleBytesMax, Closed, paths, textCharsMax } from './protocol.ts';
import type { Session } from './session.ts';
import { openSession } from './session.ts';
import type { Sandbox } from './start.ts';
import type { Exceeded, Watch } from './watch.ts';

const graceMs = 5_000;
const workspaceMsMax = 300_000;
const smallBytesMax = 1024 ** 2;

/** What came of a tool call; `isError` results are for the model to mend. */
export type ToolResult = {
  isError: boolean;
  text: string;
  killed?: Killed;
  deliverable?: Handed;
  image?: Image;
  cpuSeconds: number;
  peakBytes: number;
};

/** A sandbox that one run has for now. When it has gone, every method throws `unavailable`. */
export type Lease = {
  /** Makes one call. A limit that ended it is in its result; where it took the sandbox with it, `alive` is false afterwards. */
  call(tool: string, args: unknown, timeoutMs: number, signal: AbortSignal): Promise<ToolResult>;
  /** `again`: in a workspace that was begun before; files that are ignored stay. */
  begin(commit: string | null, bundle: Buffer | null, again?: boolean): Promise<void>;
  restore(bundle: Buffer, last: boolean): Promise<void>;
  /** Ends all that is left running. */
  quiet(): Promise<void>;
  /** What is new in the workspace since the last time, as a git bundle; null: nothing. */
  snapshot(): Promise<{ commit: string; bundle: Buffer } | null>;
  closeWorkspace(message: string, globs: readonly string[]): Promise<Closed>;
  diff(): Promise<Buffer>;
  bundle(): Promise<Buffer>;
  file(path: string, bytesMax: number): Promise<Buffer>;
  /** Starts a process that talks by its standard input and output. */
  start(command: Process): Duplex;
  alive(): boolean;
  end(): Promise<void>;
};

export type LeaseOptions = Start & {
  serveEgress: ((connection: Duplex) => void) | undefined;
  /** Watches the tree of a sandbox whose limits no cgroup holds. */
  watch: ((pid: number, exceeded: (limit: Exceeded) => void) => Watch) | undefined;
};

/** Gets a sandbox that was just started ready for a run. Throws `unavailable` with what it said where it does not answer. */
export async function openLease(sandbox: Sandbox, { serveEgress, watch, ...start }: LeaseOptions): Promise<Lease> {
  const session = openSession(sandbox.connection);
  let gone = false;
  void session.closed.then(() => {
    gone = true;
  });
  let exceeded: Exceeded | undefined;
  const watching =
    watch && sandbox.pid !== undefined
      ? watch(sandbox.pid, (limit) => {
          exceeded = limit;
        })
      : undefined;
  const end = async () => {
    gone = true;
    watching?.stop();
    session.close();
    await sandbox.end();
  };
  try {
    await session.ask(paths.start, { body: JSON.stringify(start), bytesMax: smallBytesMax, timeoutMs: 30_000 });
  } catch (error) {
    await end();
    throw new Failure('sandbox', `the sandbox did not start: ${clip(scrub(sandbox.stderr().trim()), 1_000)}`, {
      cause: error,
    });
  }
  if (serveEgress) session.serveEgress(serveEgress);
  let cpuBefore = 0;

  const call: Lease['call'] = async (tool, args, timeoutMs, signal) => {
    // What ended it between two calls is the next one's to tell.
    if (!gone) exceeded = undefined;
    watching?.takePeak();
    const { answered, ...result } = await tryCall(session, tool, args, timeoutMs, signal);
    const cpuSeconds = result.cpuSeconds === 0 ? 0 : Math.max(0, result.cpuSeconds - cpuBefore);
    cpuBefore = Math.max(cpuBefore, result.cpuSeconds);
    const killed = exceeded ?? result.killed;
    if (killed === 'sandbox' || killed === 'processes' || (killed === 'time' && !answered)) await end();
    const peakBytes = Math.max(result.peakBytes, watching?.takePeak() ?? 0);
    return { ...result, ...(killed ? { killed, isError: true } : {}), cpuSeconds, peakBytes };
  };
  return {
    call,
    ...workspaceOf(session),
    start: (command) =>
      session.open(paths.process, { 'x-process': Buffer.from(JSON.stringify(command)).toString('base64url') }),
    alive: () => !gone,
    end,
  };
}

type WorkspaceCalls = Pick<
  Lease,
  'begin' | 'quiet' | 'restore' | 'snapshot' | 'closeWorkspace' | 'diff' | 'bundle' | 'file'
>;

/** What the executor does with the workspace itself. */
function workspaceOf(session: Session): WorkspaceCalls {
  const ask = (
    path: string,
    body: Buffer | string = '',
    bytesMax = smallBytesMax,
    headers: Record<string, string> = {},
  ) => session.ask(path, { body, bytesMax, headers, timeoutMs: workspaceMsMax });
  return {
    async begin(commit, bundle, again = false) {
      const headers = { 'x-again': String(again), ...(commit ? { 'x-commit': commit } : {}) };
      await ask(paths.base, bundle ?? '', smallBytesMax, headers);
    },
    async quiet() {
      await ask(paths.quiet);
    },
    async restore(bundle, last) {
      await ask(paths.restore, bundle, smallBytesMax, { 'x-last': String(last) });
    },
    async snapshot() {
      const { status, headers, body } = await ask(paths.snapshot, '', bundleBytesMax);
      const commit = headers['x-commit'];
      if (status === 204) return null;
      if (typeof commit !== 'string' || !/^[0-9a-f]{40}$/.test(commit))
        throw new Failure('upstream', 'the sandbox named no commit');
      return { commit, bundle: body };
    },
    async closeWorkspace(message, globs) {
      const { body } = await ask(paths.close, JSON.stringify({ message, globs }));
      return Closed.parse(JSON.parse(body.toString('utf8')));
    },
    diff: async () => (await ask(paths.diff, '', bundleBytesMax)).body,
    bundle: async () => (await ask(paths.bundle, '', bundleBytesMax)).body,
    file: async (path, bytesMax) => (await ask(paths.file, JSON.stringify({ path }), bytesMax)).body,
  };
}

type Result = ToolResult & { answered: boolean };

async function tryCall(
  session: Session,
  tool: string,
  args: unknown,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Result> {
  const failed = (killed: Killed): Result => ({
    isError: true,
    text: '',
    killed,
    cpuSeconds: 0,
    peakBytes: 0,
    answered: false,
  });
  try {
    const { body } = await session.ask(paths.call, {
      body: JSON.stringify({ tool, args, timeoutMs }),
      bytesMax: answerBytesMax,
      timeoutMs: timeoutMs + graceMs,
      signal,
    });
    return { ...parse(body), answered: true };
  } catch (error) {
    if (signal.aborted) throw new Failure('unavailable', 'the tool call was interrupted');
    if (error instanceof Failure && error.code === 'timeout') return failed('time');
    if (error instanceof Failure && error.code === 'invalid') return { ...failed('sandbox'), text: error.message };
    return failed('sandbox');
  }
}

/** What an executor says is checked: it may have been taken over by what it ran. */
function parse(body: Buffer): ToolResult {
  const { deliverable, image, killed, text, ...rest } = Answered.parse(JSON.parse(body.toString('utf8')));
  const result: ToolResult = { ...rest, text: clip(scrub(text), textCharsMax), ...(killed ? { killed } : {}) };
  if (image) result.image = { mediaType: image.mediaType, bytes: Buffer.from(image.base64, 'base64') };
  if (deliverable) {
    const { base64, path, ...facts } = deliverable;
    result.deliverable = { ...facts, bytes: Buffer.from(base64, 'base64'), ...(path === undefined ? {} : { path }) };
  }
  return result;
}
