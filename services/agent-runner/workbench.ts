import type { Duplex } from 'node:stream';
import type { Snapshot } from '#shared/contracts/artifact.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Workspace } from '#shared/domain/run.ts';
import { Failure, isTransient, messageOf } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import { keep, sourcesOf } from './keep.ts';
import { fetchRepository } from './repository.ts';
import type { Lease, ToolResult } from './sandbox/lease.ts';
import type { Process } from './sandbox/protocol.ts';

/** However late it is, a sandbox is waited for this long to keep what a run did in it. */
const keepWaitMs = 60_000;

type CheckOptions = { timeoutMs: number; signal: AbortSignal };
export type CallOptions = CheckOptions & { readOnly: boolean };

/** A run's sandbox and workspace: leased with the first call, made anew from the log wherever it was lost. */
export type Workbench = {
  call(tool: string, args: unknown, options: CallOptions): Promise<ToolResult & { snapshot?: Snapshot }>;
  /** Starts a process in the sandbox that talks by its standard input and output. */
  start(process: Process): Promise<Duplex>;
  /**
   * Runs a command on what is handed over at the end: on the workspace as it is in the log, in a home without files, with nothing
   * else of the run running. What the command leaves behind is taken back.
   */
  check(command: string, options: CheckOptions): Promise<ToolResult>;
  /** Saves the workspace as it is, where anything is new in it. */
  saved(): Promise<Snapshot | undefined>;
  /** What became of the workspace; null: nothing has changed in it and nothing was to be kept. */
  keep(completed: boolean): Promise<DataOf<'toka.run.workspace-kept.v1'> | null>;
  [Symbol.asyncDispose](): Promise<void>;
};

type Options = {
  runner: Runner;
  journal: Journal;
  limits: Pick<RunLimits, 'timeoutS'>;
  signal: AbortSignal;
  serveEgress: ((connection: Duplex) => void) | undefined;
};

export function openWorkbench(options: Options): Workbench {
  const { runner, journal, limits, signal } = options;
  const { bus } = runner;
  const { definition } = journal.run;
  const closing = new AbortController();
  let lease: (Lease & AsyncDisposable) | undefined;
  let opening: Promise<Lease> | undefined;

  /** Calls that come side by side get the same sandbox. */
  const leased = async (waitMsMin = 1_000): Promise<Lease> => {
    if (closing.signal.aborted) throw new Failure('unavailable', 'the workbench of this run is closed');
    if (lease?.alive()) return lease;
    opening ??= open(waitMsMin).finally(() => {
      opening = undefined;
    });
    return opening;
  };
  const open = async (waitMsMin: number): Promise<Lease> => {
    await lease?.end();
    lease = undefined;
    const waitMs = Math.max(waitMsMin, leftMs(journal, limits));
    lease = await takeLease({ ...options, signal: AbortSignal.any([signal, closing.signal]) }, waitMs);
    return lease;
  };
  const save = async (from: Lease): Promise<Snapshot | undefined> => {
    const saved = await from.snapshot();
    return saved ? { commit: saved.commit, bundle: await bus.artifacts.put(saved.bundle) } : undefined;
  };

  return {
    async call(tool, args, { timeoutMs, signal: cut, readOnly }) {
      const at = await leased();
      const result = await at.call(tool, args, timeoutMs, cut);
      if (readOnly) return result;
      if (!at.alive())
        return {
          ...result,
          text: `${result.text}\nThe sandbox was lost: the workspace is as it was before this call.`.trim(),
        };
      try {
        const snapshot = await save(at);
        return snapshot ? { ...result, snapshot } : result;
      } catch (error) {
        // The call was made, and its result counts; what it changed here would not outlive this sandbox.
        runner.logger.warn({ runId: journal.run.id, reason: messageOf(error) }, 'the workspace could not be saved');
        return {
          ...result,
          text: `${result.text}\n[${unsaved(error)}]`,
        };
      }
    },
    saved: async () => (lease?.alive() ? save(lease) : undefined),
    start: async (process) => (await leased()).start(process),
    check: async (command, cut) => check(options, { leased, save }, command, cut),
    async keep(completed) {
      const { workspace } = journal.run;
      if (!workspace || workspace.kept) return null;
      if (workspace.snapshots.length === 0 && definition.artifacts.length === 0) return null;
      return keep(runner, journal, workspace, await leased(keepWaitMs), completed);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await opening?.catch(() => undefined);
      await lease?.end();
    },
  };
}

type Ways = { leased(): Promise<Lease>; save(from: Lease): Promise<Snapshot | undefined> };

async function check(options: Options, { leased, save }: Ways, command: string, { timeoutMs, signal }: CheckOptions) {
  const before = await leased();
  await before.quiet();
  let snapshot: Snapshot | undefined;
  try {
    snapshot = await save(before);
  } catch (error) {
    if (isTransient(error)) throw error;
    return { isError: true, text: `[${unsaved(error)}]`, cpuSeconds: 0, peakBytes: 0 };
  }
  if (snapshot) await options.journal.record({ type: 'toka.run.workspace-saved.v1', data: { snapshot } });
  await renew(options, before);
  const at = await leased();
  try {
    return await at.call('shell', { command }, timeoutMs, signal);
  } finally {
    await renew(options, at);
  }
}

/** Brings a sandbox to what the log says; where that cannot be done, the next one begins with it. */
async function renew(options: Options, at: Lease): Promise<void> {
  if (!at.alive()) return;
  try {
    await at.quiet();
    await fill(options, at, true);
  } catch (error) {
    const { runner, journal } = options;
    runner.logger.warn({ runId: journal.run.id, reason: messageOf(error) }, 'a workspace is made anew elsewhere');
    await at.end();
  }
}

const unsaved = (error: unknown) => `The workspace could not be saved: ${clip(messageOf(error), 300)}`;

/** Gets a sandbox with the run's workspace as it is known to the log; `waitMs`: for one to come free. */
async function takeLease(options: Options, waitMs: number) {
  const { runner, journal, signal, serveEgress } = options;
  const { config } = runner;
  const { definition } = journal.run;
  const { base } = await openedBy(runner, journal);
  const inTime = AbortSignal.timeout(waitMs);
  const wish = {
    branch: base.branch,
    author: definition.name,
    memoryBytes: definition.limits.memory ?? config.MAX_MEMORY_PER_AGENT,
    cpus: definition.limits.cpu ?? config.MAX_CPU_PER_AGENT,
    serveEgress,
  };
  const taken = await runner.sandboxes
    .lease(wish, AbortSignal.any([signal, inTime]))
    .catch((cause) => Promise.reject(inTime.aborted ? late(cause) : cause));
  try {
    await fill(options, taken, false);
    return taken;
  } catch (error) {
    await taken.end();
    throw error;
  }
}

/** Puts the workspace into a sandbox as the log has it; `again`: over what is there. */
async function fill({ runner: { bus }, journal }: Options, at: Lease, again: boolean): Promise<void> {
  const { workspace } = journal.run;
  if (!workspace) throw new Failure('internal', 'the workspace was not opened');
  const { base, snapshots } = workspace;
  await at.begin(base.commit, base.bundle && (await bus.artifacts.get(base.bundle)), again);
  if (again && snapshots.length === 0) await at.restore(Buffer.alloc(0), true);
  for (const [index, { bundle }] of snapshots.entries())
    await at.restore(await bus.artifacts.get(bundle), index === snapshots.length - 1);
}

const leftMs = ({ run: { startedAt }, now }: Journal, { timeoutS }: Pick<RunLimits, 'timeoutS'>) =>
  timeoutS * 1000 - (startedAt === null ? 0 : now() - Date.parse(startedAt));

const late = (cause: unknown) =>
  new Failure('timeout', 'no sandbox came free in the time of this run: raise AGENT_POOL_SIZE, or limits.timeout', {
    cause,
  });

/** Records how the workspace begins, once: whatever becomes of the repository, each runner begins with the same. */
async function openedBy({ bus, config }: Runner, journal: Journal): Promise<Workspace> {
  if (!journal.run.workspace) {
    const { definition } = journal.run;
    const { commit, bundle } = await fetchRepository(definition, sourcesOf(config, definition.workstream));
    const kept = bundle && (await bus.artifacts.put(bundle));
    const data = { branch: definition.branch, commit, bundle: kept };
    await journal.record({ type: 'toka.run.workspace-opened.v1', data });
  }
  const { workspace } = journal.run;
  if (!workspace) throw new Failure('internal', 'the workspace was opened and is not there');
  return workspace;
}
