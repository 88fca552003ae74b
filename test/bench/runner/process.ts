import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';

/** A module of this project as a process of its own; it is ready when it has sent its first message. */
export async function startModule(
  file: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<{ pid: number; first: unknown } & AsyncDisposable> {
  const child = fork(file, args, {
    env: { PATH: process.env.PATH ?? '', NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? '', ...env },
    stdio: ['ignore', process.stderr, 'inherit', 'ipc'],
  });
  const first = await new Promise<unknown>((resolve, reject) => {
    child.once('message', resolve);
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code}`)));
  });
  return { pid: child.pid ?? 0, first, [Symbol.asyncDispose]: () => end(child) };
}

/** kill -9, and waits until it is gone. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}
