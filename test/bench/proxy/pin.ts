import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** Whether the gateways can have a core that the others keep off. */
export const canPin = (): boolean => availableParallelism() > 1 && spawnSync('taskset', ['--version']).status === 0;

/** Keeps processes, with all their threads, on the first core, or on all others. */
export function pin(pids: readonly number[], cores: 'first' | 'others'): void {
  const list = cores === 'first' ? '0' : `1-${availableParallelism() - 1}`;
  for (const pid of pids) {
    const { status, stderr } = spawnSync('taskset', ['-a', '-c', '-p', list, String(pid)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`process ${pid} could not be kept on core ${list}: ${stderr}`);
  }
}
