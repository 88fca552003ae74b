import { stat } from 'node:fs/promises';
import { repeat } from './repeat.ts';

/**
 * Calls `changed` when the file is another one than before and has stayed so for `everyMs`, and on SIGHUP. It looks again and again, for notices of the system do
 * not come through bind mounts, nor from editors that put a new file in the old one's place.
 */
export function watchFile(
  stack: AsyncDisposableStack,
  file: string,
  changed: () => Promise<void>,
  everyMs = 1_000,
): void {
  let taken: string | undefined;
  let last: string | undefined;
  let working = Promise.resolve();
  const again = () => {
    working = working.then(changed, changed);
    return working;
  };
  repeat(stack, everyMs, async () => {
    const stamp = await stampOf(file);
    taken ??= stamp;
    // A file that is being written is left until it stays as it is.
    const isStill = stamp === last;
    last = stamp;
    if (!isStill || stamp === taken) return;
    taken = stamp;
    await again();
  });
  onHangUp(stack, () => void again());
}

/** Those who wait for SIGHUP, as one listener: a process may hold many proxies. */
const waiting = new Set<() => void>();
const tellAll = () => {
  for (const each of waiting) each();
};

function onHangUp(stack: AsyncDisposableStack, call: () => void): void {
  if (waiting.size === 0) process.on('SIGHUP', tellAll);
  waiting.add(call);
  stack.defer(() => {
    waiting.delete(call);
    if (waiting.size === 0) process.off('SIGHUP', tellAll);
  });
}

/** Differs as soon as the file does; `gone` where there is none. */
async function stampOf(file: string): Promise<string> {
  try {
    const { mtimeMs, size, ino } = await stat(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return 'gone';
  }
}
