import { readAgentsFile } from '#shared/agents-file.ts';
import type { NamedArtifact } from '#shared/contracts/artifact.ts';
import type { Workspace } from '#shared/domain/run.ts';
import type { Runner } from './execute.ts';
import type { Journal } from './journal.ts';
import type { Sources } from './repository.ts';
import { returnBranch } from './repository.ts';
import type { Lease } from './sandbox/lease.ts';
import { mediaTypeOf } from './tools/media-type.ts';

const keptBytesMax = 10 * 1024 ** 2;

/** Which repositories a runner's agents of a workstream may have, as the file says it now. */
export const sourcesOf = (
  { CONFIG_FILE, REPOSITORY_ROOTS, WORKSPACE_DIR, MAX_DISK_PER_AGENT }: Runner['config'],
  workstream: string,
): Sources => ({
  rules: readAgentsFile(CONFIG_FILE).repositories,
  workstream,
  roots: REPOSITORY_ROOTS.split(','),
  scratch: WORKSPACE_DIR,
  bytesMax: MAX_DISK_PER_AGENT,
});

/** Closes the workspace, and keeps what is worth keeping of it. */
export async function keep(runner: Runner, journal: Journal, { base }: Workspace, at: Lease, completed: boolean) {
  const { bus, config } = runner;
  const { run } = journal;
  const { definition, work, id } = run;
  const subject = work.description.split('\n')[0]?.slice(0, 72) ?? 'Work';
  const message = `${subject}\n\nLeft uncommitted by ${definition.name}, run ${id}`;
  await at.quiet();
  const { head, commits, changed, files } = await at.closeWorkspace(message, definition.artifacts);
  const bundle = commits > 0 ? await at.bundle() : null;
  const pushed = async () => {
    if (!bundle) return 'nothing was committed';
    // The repository is no one's but people's: nothing that another runner has gone beyond is put there.
    if (completed) await journal.current();
    return completed
      ? returnBranch(definition, sourcesOf(config, definition.workstream), bundle)
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
