import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** A process, and when it was started: ids are used again, both together are not. */
export type ProcessMark = { name: string; pid: number; started: string };

export const markOf = (name: string, pid: number): ProcessMark => ({ name, pid, started: startedAt(pid) ?? '' });

export const isAlive = ({ pid, started }: ProcessMark): boolean => {
  const now = startedAt(pid);
  return now !== undefined && now === started;
};

function startedAt(pid: number): string | undefined {
  try {
    if (!existsSync('/proc/self/stat'))
      return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' });
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** Ends processes that somebody else left behind: politely, and after `graceMs` by force. */
export async function end(marks: readonly ProcessMark[], graceMs: number): Promise<void> {
  const signal = (name: NodeJS.Signals) => {
    for (const mark of marks.filter(isAlive)) {
      try {
        process.kill(mark.pid, name);
      } catch {
        // it has gone meanwhile
      }
    }
  };
  signal('SIGTERM');
  for (const until = performance.now() + graceMs; performance.now() < until && marks.some(isAlive); ) await delay(50);
  signal('SIGKILL');
}

/** Ends a child of our own: politely, and after `graceMs` by force. */
export async function endChild(child: ChildProcess, graceMs: number): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(late);
}
