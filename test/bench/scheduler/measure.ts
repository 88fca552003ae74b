import { setTimeout as delay } from 'node:timers/promises';
import { atATime } from '../runner/batch.ts';
import { countCpu } from '../runner/cpu.ts';
import type { Contender } from './contender.ts';

export type FlatOut = { perSecond: number; cpuMs: Record<string, number> };
export type Paced = { p50: number; p99: number };

const inFlight = 256;

/** All at once: from the first that is added to the last that is completed and archived. */
export async function flatOut(contender: Contender, count: number): Promise<FlatOut> {
  let completed = 0;
  const { promise: done, resolve } = Promise.withResolvers<void>();
  contender.on.started = () => undefined;
  contender.on.completed = () => {
    completed += 1;
    if (completed === count) resolve();
  };
  const used = await countCpu(contender.pids);
  const startedMs = performance.now();
  await atATime(inFlight, count, async () => void (await contender.add(contender.newId())));
  await done;
  await contender.settled();
  const seconds = (performance.now() - startedMs) / 1000;
  const cpuMs = await used();
  return {
    perSecond: count / seconds,
    cpuMs: Object.fromEntries(Object.entries(cpuMs).map(([kind, ms]) => [kind, ms / count])),
  };
}

/** So many a second: milliseconds from before one is added until it is known to be started. */
export async function paced(contender: Contender, perSecond: number, count: number): Promise<Paced> {
  const addedMs = new Map<string, number>();
  const tookMs: number[] = [];
  contender.on.completed = () => undefined;
  contender.on.started = (id) => {
    const added = addedMs.get(id);
    if (added !== undefined) tookMs.push(performance.now() - added);
    addedMs.delete(id);
  };
  const startMs = performance.now();
  for (let sent = 0; sent < count; ) {
    const due = Math.min(count, Math.floor(((performance.now() - startMs) / 1000) * perSecond));
    for (; sent < due; sent++) {
      const id = contender.newId();
      addedMs.set(id, performance.now());
      contender.add(id).catch(() => addedMs.delete(id));
    }
    await delay(1);
  }
  for (const until = performance.now() + 10_000; tookMs.length < count && performance.now() < until; ) await delay(10);
  const sorted = tookMs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}
