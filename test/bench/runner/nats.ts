import { spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answers, freePort } from '#shared/dev/launch/ports.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { end } from './process.ts';

const confOf = (port: number, folder: string, synced: boolean) =>
  [
    `listen: "127.0.0.1:${port}"`,
    'max_payload: 8MB',
    `jetstream { store_dir: ${JSON.stringify(folder)}${synced ? ', sync_interval: always' : ''} }`,
    '',
  ].join('\n');

/** Whether this nats-server can have each message on the disk before it acknowledges it, as the stack asks it to (from 2.10 on). */
export async function canSync(program: string): Promise<boolean> {
  await using folder = await temporaryFolder();
  const file = join(folder.path, 'nats.conf');
  await writeFile(file, confOf(4222, folder.path, true));
  const { status, error } = spawnSync(program, ['-t', '-c', file], { stdio: 'ignore' });
  if (error) throw error;
  return status === 0;
}

export const versionOf = (program: string): string =>
  spawnSync(program, ['--version'], { encoding: 'utf8' }).stdout.trim();

/** A nats-server with the stack's settings. */
export async function startNats(
  program: string,
  synced: boolean,
): Promise<{ url: string; pid: number } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder()).path;
  const port = await freePort();
  const file = join(folder, 'nats.conf');
  await writeFile(file, confOf(port, join(folder, 'data'), synced));
  const child = spawn(program, ['-c', file], { stdio: 'ignore' });
  stack.defer(() => end(child));
  await eventually(() => answers(port));
  const owned = stack.move();
  return {
    url: `nats://127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
