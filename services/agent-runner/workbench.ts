import type { Duplex } from 'node:stream';
import type { NamedArtifact, Snapshot } from '#shared/contracts/artifact.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import type { Run, Workspace } from '#shared/domain/run.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import { clip } from '#shared/text.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { Sources } from './repository.ts';
import { fetchRepository, returnBranch } from './repository.ts';
import type { Lease, ToolResult } from './sandbox/lease.ts';
import { mediaTypeOf } from './tools/media-type.ts';

const keptBytesMax = 10 * 1024 ** 2;
/** However late it is, a sandbox is waited for this long to keep what a run did in it. */
const keepWaitMs = 60_000;

export type CallOptions = { timeoutMs: number; signal: AbortSignal; readOnly: boolean };

/** A run's sandbox and workspace: leased with the first call, made anew from the log wherever it was lost. */
export type Workbench = {
  call(tool: string, args: unknown, options: CallOptions): Promise<ToolResult & { snapshot?: Snapshot }>;
  /** Starts a process in the sandbox that talks by its standard input and output. */
  start(command: string[], env: Record<string, string>): Promise<Duplex>;
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

export const sourcesOf = ({ REPOSITORY_ROOTS, WORKSPACE_DIR, MAX_DISK_PER_AGENT }: Runner['config']): Sources => ({
  roots: REPOSITORY_ROOTS.split(','),
  scratch: WORKSPACE_DIR,
  bytesMax: MAX_DISK_PER_AGENT,
});

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
    const waitMs = Math.max(waitMsMin, leftMs(journal.run, limits));
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
          text: `${result.text}\n[The workspace could not be saved: ${clip(messageOf(error), 300)}]`,
        };
      }
    },
    saved: async () => (lease?.alive() ? save(lease) : undefined),
    async start(command, env) {
      return (await leased()).start({ command, env });
    },
    async keep(completed) {
      const { workspace } = journal.run;
      if (!workspace || workspace.kept) return null;
      if (workspace.snapshots.length === 0 && definition.artifacts.length === 0) return null;
      return keep(runner, journal.run, workspace, await leased(keepWaitMs), completed);
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await opening?.catch(() => undefined);
      await lease?.end();
    },
  };
}

/** Gets a sandbox with the run's workspace as it is known to the log; `waitMs`: for one to come free. */
async function takeLease({ runner, journal, signal, serveEgress }: Options, waitMs: number) {
  const { bus, config } = runner;
  const { definition } = journal.run;
  const { base: begin, snapshots } = await openedBy(runner, journal);
  const inTime = AbortSignal.timeout(waitMs);
  const wish = {
    branch: begin.branch,
    author: definition.name,
    memoryBytes: definition.limits.memory ?? config.MAX_MEMORY_PER_AGENT,
    cpus: definition.limits.cpu ?? config.MAX_CPU_PER_AGENT,
    serveEgress,
  };
  const taken = await runner.sandboxes
    .lease(wish, AbortSignal.any([signal, inTime]))
    .catch((cause) => Promise.reject(inTime.aborted ? late(cause) : cause));
  try {
    await taken.begin(begin.commit, begin.bundle && (await bus.artifacts.get(begin.bundle)));
    for (const [index, { bundle }] of snapshots.entries())
      await taken.restore(await bus.artifacts.get(bundle), index === snapshots.length - 1);
    return taken;
  } catch (error) {
    await taken.end();
    throw error;
  }
}

const leftMs = ({ startedAt }: Run, { timeoutS }: Pick<RunLimits, 'timeoutS'>) =>
  timeoutS * 1000 - (startedAt === null ? 0 : Date.now() - Date.parse(startedAt));

const late = (cause: unknown) =>
  new Failure('timeout', 'no sandbox came free in the time of this run: raise AGENT_POOL_SIZE, or limits.timeout', {
    cause,
  });

/** Records how the workspace begins, once: whatever becomes of the repository, each runner begins with the same. */
async function openedBy({ bus, config }: Runner, journal: Journal): Promise<Workspace> {
  if (!journal.run.workspace) {
    const { definition } = journal.run;
    const { commit, bundle } = await fetchRepository(definition, sourcesOf(config));
    const kept = bundle && (await bus.artifacts.put(bundle));
    const data = { branch: definition.branch, commit, bundle: kept };
    await journal.record({ type: 'toka.run.workspace-opened.v1', data });
  }
  const { workspace } = journal.run;
  if (!workspace) throw new Failure('internal', 'the workspace was opened and is not there');
  return workspace;
}

/** Closes the workspace, and keeps what is worth keeping of it. */
async function keep(runner: Runner, run: Run, { base }: Workspace, at: Lease, completed: boolean) {
  const { bus, config } = runner;
  const { definition, work, id } = run;
  const subject = work.description.split('\n')[0]?.slice(0, 72) ?? 'Work';
  const message = `${subject}\n\nLeft uncommitted by ${definition.name}, run ${id}`;
  const { head, commits, changed, files } = await at.closeWorkspace(message, definition.artifacts);
  const bundle = commits > 0 ? await at.bundle() : null;
  const pushed = async () => {
    if (!bundle) return 'nothing was committed';
    return completed
      ? returnBranch(definition, sourcesOf(config), bundle)
      : 'the run did not end well; its work is in the bundle';
  };
  return {
    branch: base.branch,
    base: base.commit,
    head,
    commits,
    diff: changed ? await bus.artifacts.put(await at.diff()) : null,
    bundle: bundle && (await bus.artifacts.put(bundle)),
    pushed: await pushed(),
    artifacts: await keepFiles(at, runner, files),
  };
}

async function keepFiles(at: Lease, { bus: { artifacts } }: Runner, files: readonly { path: string; bytes: number }[]) {
  const kept: NamedArtifact[] = [];
  for (const { path, bytes } of files.filter((file) => file.bytes <= keptBytesMax)) {
    const artifact = await artifacts.put(await at.file(path, bytes + 1));
    kept.push({ name: path, mediaType: mediaTypeOf(path), artifact });
  }
  return kept;
}
