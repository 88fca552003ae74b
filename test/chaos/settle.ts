import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Anchors } from './anchors.ts';
import { archiveIsStream, chainHolds, logIsKept } from './checks/archive.ts';
import type { Violation } from './checks/evidence.ts';
import { memoryIsBack, noBugsLogged, nothingIsLeft } from './checks/leftovers.ts';
import { allEnded } from './checks/runs.ts';
import { readArchive } from './gather.ts';
import type { Observation } from './observe.ts';
import { memoryOf } from './process.ts';
import type { Works } from './work.ts';
import type { World } from './world.ts';

const drainMsMax = 180_000;
const restMsMax = 30_000;

export type Settled = { violations: Violation[]; figures: Record<string, number> };

/** Nothing is done to anyone any more: all must come to its end, and leave nothing. */
export async function settle(
  world: World,
  observation: Observation,
  { works, anchors }: { works: Works; anchors: Anchors },
  tell: (line: string) => void,
): Promise<Settled> {
  const { reader, descendants } = observation;
  const drainedMs = Date.now();
  /** Looks on until it is so, or the time is over. */
  const until = async (isSo: () => boolean | Promise<boolean>, limitMs: number) => {
    for (const endMs = Date.now() + limitMs; Date.now() < endMs; await delay(500)) {
      await observation.tick();
      works.approve(observation.approvals());
      if (await Promise.resolve(isSo()).catch(() => false)) return true;
    }
    return false;
  };
  tell('all is whole again; what is under way is given time to end');
  await works.finish(drainMsMax);
  await until(() => allEnded(reader.messages, works.items).length === 0, drainMsMax);
  const drainSeconds = Math.round((Date.now() - drainedMs) / 1000);
  await until(async () => {
    await reader.sweep();
    return (await reader.tasks()).length === 0;
  }, restMsMax);
  const tasks = await reader.tasks();
  await until(() => descendants.alive().length === 0, restMsMax);
  const memory = await memoryOf(world.processes);
  const idle = descendants.alive();
  await anchors.take();
  const anchored = await anchors.verify();

  tell('services are stopped');
  works.stop();
  const names = [...world.processes.keys()];
  const stores = names.filter((name) => world.databases.has(name));
  const stop = (some: readonly string[]) => Promise.all(some.map((name) => world.processes.get(name)?.end('SIGTERM')));
  await stop(names.filter((name) => !stores.includes(name)));
  await observation.tick();
  const last = reader.messages.length;
  await until(
    () => [...world.databases.values()].every((file) => (readArchive(file, last)[0]?.seq ?? 0) >= last),
    restMsMax,
  );
  await stop(stores);
  await until(() => descendants.alive().length === 0, 5_000);

  const all = await reader.anew();
  const left = [...new Set([...idle, ...descendants.alive()])];
  const violations = [
    ...observation.look(),
    ...anchored,
    ...logIsKept(reader.messages, all),
    ...allEnded(all, works.items),
    ...nothingIsLeft({ processes: left, files: world.scratch.flatMap(filesIn), tasks }),
    ...memoryIsBack(world.memory, memory),
    ...names.flatMap((name) => noBugsLogged(name, readFileSync(join(world.folder, `${name}.log`), 'utf8'))),
    ...[...world.databases].flatMap(([name, file]) => {
      const rows = readArchive(file);
      return [...archiveIsStream(name, rows, all, last), ...chainHolds(name, rows)];
    }),
  ];
  const megabytes = [...memory.values()].map(({ heapUsed, external }) => (heapUsed + external) / 1024 ** 2);
  return { violations, figures: { drainSeconds, largestHeapMiB: Math.round(Math.max(...megabytes)) } };
}

const filesIn = (folder: string): string[] => readdirSync(folder).map((name) => join(folder, name));
