import { pipeline } from './pipeline.ts';
import { stack } from './stack.ts';

// `npm run bench -- <name>`: measures on this machine, side by side in one run. Never part of the tests.

const benches: Record<string, () => Promise<void>> = { pipeline, stack };
const [name = 'pipeline'] = process.argv.slice(2);
const bench = benches[name];
if (bench) await bench();
else process.stderr.write(`there is no bench "${name}"; there are ${Object.keys(benches).join(', ')}\n`);
process.exit(bench ? 0 : 1);
