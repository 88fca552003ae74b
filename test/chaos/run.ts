import { appendFileSync } from 'node:fs';
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openAnchors } from './anchors.ts';
import type { Violation } from './checks/evidence.ts';
import { harm, heal } from './faults.ts';
import { openObservation } from './observe.ts';
import type { Options } from './options.ts';
import { makePlan, told } from './plan.ts';
import { plantIn, signs } from './plant.ts';
import type { Summary } from './report.ts';
import { settle } from './settle.ts';
import { openWorks } from './work.ts';
import { openWorld } from './world.ts';

const project = fileURLToPath(new URL('../..', import.meta.url));
const tickMs = 1_000;
const lookMs = 10_000;

/** One run of chaos, from nothing to its summary. `say` hears a line for each thing that happens. */
export async function runChaos(options: Options & { folder: string }, say: (line: string) => void): Promise<Summary> {
  const folder = resolve(options.folder);
  await mkdir(folder, { recursive: true });
  const root = options.plant ? await plantIn(folder, options.plant) : project;
  await using world = await openWorld({ root, folder, sizes: options.sizes });
  const startedMs = Date.now();
  const tell = (line: string) => {
    const text = `${((Date.now() - startedMs) / 1000).toFixed(1).padStart(7)} s  ${line}`;
    appendFileSync(join(folder, 'chaos.log'), `${text}\n`);
    say(text);
  };
  const missing = world.victims.disk.length === 0 ? ['disk (only root may mount small disks)'] : [];
  const plan = makePlan({
    ...{ seed: options.seed, everyMs: options.everyMs, kinds: options.kinds, victims: world.victims },
    lengthMs: options.minutes * 60_000,
  });
  await writeFile(join(folder, 'plan.json'), `${JSON.stringify(plan, undefined, 1)}\n`);
  await using observation = await openObservation(world);
  const works = await openWorks({
    ...{ apis: world.apis, repository: join(folder, 'repository') },
    ...{ agents: options.agents, atOnce: options.atOnce, seed: options.seed },
  });
  const anchors = await openAnchors(world.apis);
  tell(`${world.processes.size} services are up; ${plan.length} faults are planned, by seed ${options.seed}`);

  let foundMs: number | undefined;
  const known = new Set<string>();
  const isWanted = (check: string) => !options.plant || signs[options.plant].includes(check);
  const note = (violations: readonly Violation[]) => {
    for (const { check, text } of violations) {
      if (known.has(`${check} ${text}`)) continue;
      known.add(`${check} ${text}`);
      if (isWanted(check)) foundMs ??= Date.now() - startedMs;
      tell(`VIOLATION  ${check}: ${text}`);
    }
  };

  const over = new AbortController();
  // On a busy machine a victim may not be back in time for its next fault: then that one is left out.
  const busy = new Set<string>();
  const faults = plan.map(async (fault) => {
    const isDue = await delay(startedMs + fault.atMs - Date.now(), true, { signal: over.signal }).catch(() => false);
    if (!isDue) return;
    if (busy.has(fault.victim)) return tell(`left out ${told(fault)}`);
    tell(told(fault));
    busy.add(fault.victim);
    await harm(world, fault, observation.record).catch((error) => tell(`fault ${fault.id} went wrong: ${error}`));
    busy.delete(fault.victim);
  });
  const endMs = startedMs + options.minutes * 60_000;
  for (let lookedMs = Date.now(); Date.now() < endMs; ) {
    await delay(tickMs);
    await observation.tick();
    works.keepUp(observation.ended());
    works.approve(observation.approvals());
    if (Date.now() - lookedMs < lookMs) continue;
    note(observation.look());
    void anchors.take();
    void observation.reader.sweep();
    lookedMs = Date.now();
    if (options.untilFirst && foundMs !== undefined) break;
  }
  over.abort();
  await Promise.all(faults);
  await heal(world);
  const left = options.untilFirst && foundMs !== undefined;
  const settled = left ? undefined : await settle(world, observation, { works, anchors }, tell);
  const violations = settled ? settled.violations : observation.look();
  note(violations);
  await observation.write(folder);
  await copyFile(join(world.nats.folder, 'log'), join(folder, 'nats.log'));
  // Small disks go with the world; what was on them stays.
  for (const [name, file] of world.databases)
    for (const end of ['', '-wal'])
      await copyFile(file + end, join(folder, `${name}.sqlite${end}`)).catch(() => undefined);
  return {
    ...{ seed: options.seed, minutes: options.minutes, agents: options.agents, kinds: options.kinds },
    ...{ plant: options.plant ?? null, foundMs: foundMs ?? null, folder, missing, plan, violations },
    seconds: Math.round((Date.now() - startedMs) / 1000),
    figures: { ...observation.figures(), ...settled?.figures, works: works.items.length },
  };
}
