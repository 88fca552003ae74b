import { parseArgs } from 'node:util';
import type { Kind } from './plan.ts';
import { allKinds } from './plan.ts';
import type { PlantName } from './plant.ts';
import { plants } from './plant.ts';
import type { Sizes } from './world.ts';

export type Options = {
  seed: number;
  minutes: number;
  agents: number;
  kinds: readonly Kind[];
  /** A bug that is put into a copy of the sources. */
  plant: PlantName | undefined;
  sizes: Sizes;
  /** Works that are under way at a time. */
  atOnce: number;
  /** From one fault to the next, on average. */
  everyMs: number;
  /** Where all that was seen is kept; a temporary folder unless it is given. */
  folder: string | undefined;
  /** Whether it ends with the first violation. */
  untilFirst: boolean;
};

export const longSizes: Sizes = { store: 2, 'llm-proxy': 2, scheduler: 2, 'agent-runner': 3, gateway: 2 };

export const usage = `npm run chaos -- [options]
  --seed N         the plan of faults and of the work is a function of it (1)
  --minutes N      how long faults go on; what is under way is then given time to end (5)
  --agents N       agents that are made and given work (200)
  --only a,b       faults to choose from: ${allKinds.join(', ')} (all)
  --every N        seconds from one fault to the next, on average (3)
  --at-once N      works that are under way at a time (24)
  --plant NAME     puts a bug into a copy of the sources, to see it found: ${Object.keys(plants).join(', ')}
  --folder DIR     keeps logs, databases and the summary there; else a folder that is kept where something is wrong
  --until-first    ends with the first violation; with --plant always, and with the first that is due to the bug`;

/** Reads the command line. Throws an error that names the option and what it takes. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: 'string', default: '1' },
      minutes: { type: 'string', default: '5' },
      agents: { type: 'string', default: '200' },
      only: { type: 'string', default: allKinds.join(',') },
      every: { type: 'string', default: '3' },
      'at-once': { type: 'string', default: '24' },
      plant: { type: 'string' },
      folder: { type: 'string' },
      'until-first': { type: 'boolean', default: false },
    },
  });
  const number = (name: 'seed' | 'minutes' | 'agents' | 'every' | 'at-once', min: number, max: number) => {
    const value = Number(values[name]);
    if (values[name].trim() !== '' && value >= min && value <= max) return value;
    throw new Error(`--${name} must be a number from ${min} to ${max}, and is "${values[name]}"`);
  };
  const kinds = values.only.split(',').map((name) => {
    const kind = allKinds.find((each) => each === name.trim());
    if (!kind) throw new Error(`--only: there is no fault "${name}"; there are ${allKinds.join(', ')}`);
    return kind;
  });
  const plant = (Object.keys(plants) as PlantName[]).find((each) => each === values.plant);
  if (values.plant !== undefined && !plant)
    throw new Error(`--plant: there is no bug "${values.plant}"; there are ${Object.keys(plants).join(', ')}`);
  return {
    seed: number('seed', 0, 2 ** 32 - 1),
    minutes: number('minutes', 0.1, 24 * 60),
    agents: Math.round(number('agents', 1, 10_000)),
    everyMs: number('every', 0.2, 600) * 1000,
    atOnce: Math.round(number('at-once', 1, 1_000)),
    sizes: longSizes,
    folder: values.folder,
    untilFirst: values['until-first'] || plant !== undefined,
    ...{ kinds, plant },
  };
}
