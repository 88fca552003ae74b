import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '#shared/errors.ts';
import { median, rule } from './runner/table.ts';
import { manyAgents } from './scheduler/agents.ts';
import { openBullmq } from './scheduler/bullmq.ts';
import { bullmqVersion, installBullmq } from './scheduler/bullmq-install.ts';
import type { Contender, Shape } from './scheduler/contender.ts';
import type { FlatOut, Paced } from './scheduler/measure.ts';
import { flatOut, paced } from './scheduler/measure.ts';
import { openToka } from './scheduler/toka.ts';

const atOnce = 200;
const workerCounts = [1, 2, 4];
const sizes = {
  full: { rounds: 3, warm: 1_500, jobs: 8_000, paced: 3_000 },
  quick: { rounds: 1, warm: 500, jobs: 2_000, paced: 900 },
};
const perSecond = 300;

const say = (line = '') => process.stdout.write(`${line}\n`);

/** What it takes to get a run done that does nothing, beside BullMQ, in one run; the goals are printed with it. */
export async function scheduler(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean' },
      'no-bullmq': { type: 'boolean' },
      nats: { type: 'string' },
      workers: { type: 'string' },
      agents: { type: 'string' },
    },
  });
  const size = values.quick ? sizes.quick : sizes.full;
  const nats = values.nats ?? 'nats-server';
  if (values.agents) return manyAgents(nats, Number(values.agents));
  const bullmq = values['no-bullmq'] ? undefined : await installBullmq().catch((error) => void say(messageOf(error)));
  const measured = new Map<string, { flat: FlatOut; pace: Paced }[]>();
  const run = async (name: string, open: () => Promise<Contender>) => {
    await using contender = await open();
    await flatOut(contender, size.warm);
    const pace = await paced(contender, perSecond, size.paced);
    const flat = await flatOut(contender, size.jobs);
    measured.set(name, [...(measured.get(name) ?? []), { flat, pace }]);
    say(line(name, flat, pace));
  };
  say(`runs/s flat out (added, started, completed${' '}and archived), and ms from added to started at ${perSecond}/s`);
  const counts = values.workers ? [Number(values.workers)] : workerCounts;
  for (let round = 1; round <= size.rounds; round++) {
    say(rule(`round ${round} of ${size.rounds}, load ${loadavg()[0]?.toFixed(1)}`));
    for (const workers of counts) {
      const shape: Shape = { workers, concurrency: Math.ceil(atOnce / workers) };
      await run(`toka ${workers}`, () => openToka(nats, shape));
      if (bullmq) await run(`bullmq ${workers}`, () => openBullmq(bullmq, shape));
    }
  }
  say(rule(`medians; goals: BullMQ ${bullmqVersion}'s runs/s, p50 < 2 ms, p99 < 20 ms`));
  for (const [name, list] of measured) {
    const of = (pick: (each: { flat: FlatOut; pace: Paced }) => number) => median(list.map(pick));
    const cpuMs = list.at(-1)?.flat.cpuMs ?? {};
    say(
      line(
        name,
        { perSecond: of(({ flat }) => flat.perSecond), cpuMs },
        { p50: of(({ pace }) => pace.p50), p99: of(({ pace }) => pace.p99) },
      ),
    );
  }
}

const line = (name: string, { perSecond: rate, cpuMs }: FlatOut, { p50, p99 }: Paced) =>
  `  ${name.padEnd(10)} ${Math.round(rate).toLocaleString('en').padStart(7)} runs/s   p50 ${p50.toFixed(1).padStart(5)}   p99 ${p99.toFixed(1).padStart(6)}   processor ms a run: ${Object.entries(
    cpuMs,
  )
    .map(([kind, ms]) => `${kind} ${ms.toFixed(3)}`)
    .join(', ')}`;
