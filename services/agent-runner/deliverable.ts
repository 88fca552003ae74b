import { randomBytes } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Work } from '#shared/contracts/agent.ts';
import type { Run } from '#shared/domain/run.ts';

const fileName = /^[A-Za-z0-9][A-Za-z0-9._ -]{0,98}\.[A-Za-z0-9]{1,8}$/;

/** The file name of a work's deliverable: as the work names it, else as the agent's file is called, else by the work's id. */
export function deliverableName(work: Work, path: string | undefined): string {
  const asked = work.deliverable?.trim() ?? '';
  if (fileName.test(asked)) return asked;
  const own = path === undefined ? '' : basename(path);
  return fileName.test(own) ? own : `${work.id}.md`;
}

/** Writes a finished deliverable to `<folder>/<agent>/<work>/<name>`, whole or not at all. */
export async function keepDeliverable(
  folder: string,
  { agentId, work, deliverable }: Run,
  bytes: Uint8Array,
): Promise<void> {
  if (!deliverable) return;
  const home = join(folder, agentId, work.id);
  await mkdir(home, { recursive: true });
  const partial = join(home, `.partial-${randomBytes(4).toString('hex')}`);
  await writeFile(partial, bytes);
  await rename(partial, join(home, deliverable.name));
}
