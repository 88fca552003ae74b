import type { Crash, Memory } from '../process.ts';
import type { Violation } from './evidence.ts';

/** What is there when nobody works any more. */
export type Leftovers = {
  processes: readonly { name: string; pid: number }[];
  files: readonly string[];
  /** Runs on the queue. */
  tasks: readonly string[];
};

export function nothingIsLeft({ processes, files, tasks }: Leftovers): Violation[] {
  const check = 'nothing is left over';
  return [
    ...processes.map(({ name, pid }) => ({ check, text: `process ${pid}: ${name}` })),
    ...files.map((file) => ({ check, text: `file ${file}` })),
    ...tasks.map((run) => ({ check, text: `task of ${run}` })),
  ];
}

/** By how much a process's live memory may have grown: code that was compiled, pools, buffers of the last moments. */
const growthBytesMax = 64 * 1024 ** 2;
const megabytes = (bytes: number) => `${Math.round(bytes / 1024 ** 2)} MiB`;

/** What is alive in a process's memory is near what it was at the start. */
export function memoryIsBack(before: ReadonlyMap<string, Memory>, after: ReadonlyMap<string, Memory>): Violation[] {
  return [...after].flatMap(([name, { heapUsed, external }]) => {
    const base = before.get(name);
    const grown = heapUsed + external - (base ? base.heapUsed + base.external : 0);
    if (!base || grown <= growthBytesMax) return [];
    const text = `${name}: ${megabytes(heapUsed + external)}, at first ${megabytes(base.heapUsed + base.external)}`;
    return [{ check: 'memory is back', text }];
  });
}

export const natsRefusedNobody = (lines: readonly string[]): Violation[] =>
  lines.map((text) => ({ check: 'NATS refuses no service', text }));

export const nobodyCrashed = (crashes: readonly Crash[]): Violation[] =>
  crashes.map(({ name, code, signal, said }) => ({
    check: 'no service ends by itself',
    text: `${name} ended with ${signal ?? code}:\n${said}`,
  }));

/** What a service calls a bug of its own. */
export const noBugsLogged = (name: string, log: string): Violation[] =>
  log
    .split('\n')
    .filter((line) => line.includes('"a bug:'))
    .map((line) => ({ check: 'no service logs a bug', text: `${name}: ${line.slice(0, 1_000)}` }));
