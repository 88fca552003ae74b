import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessMark } from '#shared/dev/launch/processes.ts';
import { isAlive, markOf } from '#shared/dev/launch/processes.ts';

/** Every process that the watched ones have ever been seen to start. */
export type Descendants = {
  look(): void;
  /** Those that are alive though whoever started them has gone, or all of them. */
  alive(): ProcessMark[];
};

/** Looks through /proc: who belongs to whom is no longer known once a parent has gone. */
export function watchDescendants(parents: () => readonly (number | undefined)[]): Descendants {
  const seen = new Map<string, ProcessMark>();
  return {
    look() {
      const children = childrenByParent();
      const open = parents().filter((pid) => pid !== undefined);
      for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
        for (const child of children.get(pid) ?? []) {
          open.push(child);
          const mark = markOf(commandOf(child), child);
          if (mark.started !== '') seen.set(`${child} ${mark.started}`, mark);
        }
      }
      for (const [key, mark] of seen) if (!isAlive(mark)) seen.delete(key);
    },
    alive: () => [...seen.values()].filter(isAlive),
  };
}

function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // it has gone
    }
  }
  return children;
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim().slice(0, 200);
  } catch {
    return '';
  }
}
