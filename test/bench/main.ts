import { disk } from './disk.ts';
import { gateway } from './gateway.ts';
import { pipeline } from './pipeline.ts';
import { proxy } from './proxy.ts';
import { runner } from './runner.ts';
import { scheduler } from './scheduler.ts';
import { stack } from './stack.ts';
import { sync } from './sync.ts';

// `npm run bench -- <name>`: measures on this machine, side by side in one run. Never part of the tests.

const benches: Record<string, (args: string[]) => Promise<void>> = {
  disk,
  gateway,
  pipeline,
  proxy,
  runner,
  scheduler,
  stack,
  sync,
};
const [name = 'pipeline', ...args] = process.argv.slice(2);
const bench = benches[name];
if (bench) await bench(args);
else process.stderr.write(`there is no bench "${name}"; there are ${Object.keys(benches).join(', ')}\n`);
process.exit(bench ? 0 : 1);
