import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Definition } from '#shared/contracts/agent.ts';
import { fetchRepository } from './repository.ts';

type WorkspaceOptions = {
  /** The folder of all workspaces. */
  root: string;
  runId: string;
  definition: Definition;
  /** What an agent's repository must lie in: folders, or beginnings of URLs. */
  repositoryRoots: readonly string[];
};

const partialPrefix = (runId: string) => `.partial-${runId}-`;

/** The run's own folder, with its repository in it. One that is there already (the run goes on) is left as it is. */
export async function openWorkspace({
  root,
  runId,
  definition,
  repositoryRoots,
}: WorkspaceOptions): Promise<{ path: string; fresh: boolean }> {
  const path = join(root, runId);
  if (existsSync(path)) return { path, fresh: false };
  await mkdir(root, { recursive: true, mode: 0o700 });
  await removePartials(root, runId);
  // It gets its name once it is whole: a runner that dies in between leaves nothing that passes for a workspace.
  const partial = join(root, `${partialPrefix(runId)}${randomBytes(4).toString('hex')}`);
  await mkdir(partial, { mode: 0o700 });
  try {
    if (definition.repository !== undefined)
      await fetchRepository(definition.repository, definition.branch, repositoryRoots, partial);
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  return { path, fresh: true };
}

/** Removes a run's folder, for it has ended. */
export async function removeWorkspace(root: string, runId: string): Promise<void> {
  await rm(join(root, runId), { recursive: true, force: true });
  await removePartials(root, runId);
}

async function removePartials(root: string, runId: string): Promise<void> {
  const names = await readdir(root).catch(() => []);
  const left = names.filter((name) => name.startsWith(partialPrefix(runId)));
  await Promise.all(left.map((name) => rm(join(root, name), { recursive: true, force: true })));
}
