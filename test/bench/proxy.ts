import { availableParallelism, cpus, loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { messageOf } from '#shared/errors.ts';
import type { Contender, Name } from './proxy/contender.ts';
import { names, peakMiB } from './proxy/contender.ts';
import { goalLine, goalsOf } from './proxy/goals.ts';
import type { Times, Workers } from './proxy/measure.ts';
import { measure } from './proxy/measure.ts';
import { phaseNames, phases } from './proxy/phases.ts';
import { canPin, pin } from './proxy/pin.ts';
import { installPortkey, openPortkey, portkeyVersion } from './proxy/portkey.ts';
import type { Results } from './proxy/results.ts';
import { head, medianLines, mediansOf, row } from './proxy/table.ts';
import { openToka } from './proxy/toka.ts';
import { startWorker } from './proxy/worker.ts';
import { rule } from './runner/table.ts';

const sizes = {
  full: { rounds: 3, warmMs: 500, measureMs: 3_000, firstWarmMs: 10_000 },
  quick: { rounds: 1, warmMs: 300, measureMs: 1_500, firstWarmMs: 2_000 },
};

const settleMs = 500;

const usage = `npm run bench -- proxy [--quick] [--without <name>]…
  --without  leaves one out: bare, portkey or toka`;

const say = (line = '') => process.stdout.write(`${line}\n`);

/** Toka's proxy beside Portkey's gateway, a bare proxy and no proxy at all, with the same upstream and the same load. */
export async function proxy(args: string[]): Promise<void> {
  const { quick, without } = options(args);
  const size = quick ? sizes.quick : sizes.full;
  const machine = {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
    pinned: canPin(),
  };
  const startedMs = performance.now();
  explain(machine);

  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(await startWorker('test/bench/proxy/upstream.ts'));
  const load = stack.use(await startWorker('test/bench/proxy/load.ts'));
  if (machine.pinned) pin([upstream.pid, load.pid], 'others');
  const contenders = new Map<Name, Contender>();
  for (const name of names) {
    if (without.includes(name)) continue;
    try {
      const contender = stack.use(await open[name](upstream.port));
      if (machine.pinned) pinAll(contender);
      contenders.set(name, contender);
    } catch (error) {
      say(`${name.toUpperCase()} COULD NOT BE STARTED: ${messageOf(error)}`);
    }
  }

  for (const contender of contenders.values()) await warm({ load, upstream }, contender, size.firstWarmMs);

  const results: Results = {};
  for (let round = 0; round < size.rounds; round++) {
    say(rule(`round ${round + 1} of ${size.rounds}, load ${loadavg()[0]?.toFixed(1)}`));
    await measureRound({ load, upstream }, contenders, round, size, results);
  }

  const medians = mediansOf(results);
  say(rule('medians'));
  for (const line of medianLines(medians)) say(line);
  const peaks = await peaksOf(contenders);
  say(
    `peak memory in MiB: ${Object.entries(peaks)
      .map(([name, mib]) => `${name} ${mib}`)
      .join(', ')}`,
  );
  say(rule('goals'));
  const goals = goalsOf(results, peaks.toka);
  for (const goal of goals) say(goalLine(goal));
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  say(`it took ${seconds} s`);
  say();
  const shown = goals.map(({ what, wanted, got, met }) => ({ what, wanted, got: got ?? null, met }));
  say(
    JSON.stringify({
      bench: 'proxy',
      quick,
      machine,
      portkey: portkeyVersion,
      medians,
      peakMiB: peaks,
      goals: shown,
      seconds,
    }),
  );
}

const open: Record<Name, (upstream: number) => Promise<Contender>> = {
  direct: async (upstream) => ({ port: upstream, headers: {}, pids: {}, [Symbol.asyncDispose]: async () => undefined }),
  async bare(upstream) {
    const worker = await startWorker('test/bench/proxy/bare.ts', [`http://127.0.0.1:${upstream}`]);
    return {
      port: worker.port,
      headers: { authorization: 'Bearer sk-bench' },
      pids: { gateway: [worker.pid] },
      [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
    };
  },
  portkey: async (upstream) => openPortkey(await installPortkey(), upstream),
  toka: openToka,
};

function pinAll({ pids }: Contender): void {
  for (const [kind, own = []] of Object.entries(pids)) pin(own, kind === 'gateway' ? 'first' : 'others');
}

/** Has a contender's code compiled before anything is measured; what fails here fails again, and is said, where it is measured. */
async function warm(workers: Workers, contender: Contender, measureMs: number): Promise<void> {
  for (const phase of [phases.uncached32, phases.stream32]) {
    await measure(workers, contender, phase, { warmMs: 0, measureMs }).catch(() => delay(settleMs));
  }
}

/** Each phase with each contender, a different one first in each round. */
async function measureRound(
  workers: Workers,
  contenders: ReadonlyMap<Name, Contender>,
  round: number,
  times: Times,
  results: Results,
): Promise<void> {
  for (const phase of phaseNames) {
    const of: readonly Name[] = phases[phase].of;
    const turn = of
      .map((_, index) => of[(index + round) % of.length] ?? 'direct')
      .filter((name) => contenders.has(name));
    if (turn.length === 0) continue;
    say(head(phases[phase]));
    for (const name of turn) {
      const contender = contenders.get(name);
      if (!contender) continue;
      const own = results[phase] ?? {};
      const list = own[name] ?? [];
      results[phase] = { ...own, [name]: list };
      try {
        list[round] = await measure(workers, contender, phases[phase], times);
        say(row(name, phases[phase], list[round]));
      } catch (error) {
        list[round] = undefined;
        say(`  ${name} COULD NOT BE MEASURED: ${messageOf(error)}`);
        await delay(settleMs); // what it left on its way to upstream is not counted as the next one's
      }
    }
  }
}

async function peaksOf(contenders: ReadonlyMap<Name, Contender>): Promise<{ [name in Name]?: number }> {
  const peaks: { [name in Name]?: number } = {};
  for (const [name, { pids }] of contenders) {
    const [pid] = pids.gateway ?? [];
    if (pid !== undefined) peaks[name] = Math.round(await peakMiB(pid));
  }
  return peaks;
}

function options(args: string[]): { quick: boolean; without: string[] } {
  try {
    const { values } = parseArgs({
      args,
      options: { quick: { type: 'boolean', default: false }, without: { type: 'string', multiple: true, default: [] } },
    });
    return values;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${usage}\n`);
    process.exit(1);
  }
}

function explain(machine: { cores: number; processor: string; node: string; date: string; pinned: boolean }): void {
  say(`${machine.cores} cores of ${machine.processor}, Node ${machine.node}, ${machine.date}`);
  say(
    "  OpenAI's chat completions, 1 KiB there and 1 KiB back or a stream of 22 events; upstream answers at once. Load, upstream and",
  );
  say('  gateway are a process each; each answer is checked, and upstream counts what it was asked.');
  say(
    '  direct: no gateway. bare: node:http and undici, nothing else. busy: how much of a core the gateway used; far below 100 %, it was',
  );
  say(
    '  not what was slowest. us/req and us/event: its processor time; at the end of the line that of the other processes.',
  );
  const [load = 0] = loadavg();
  if (load > machine.cores / 2)
    say(`  THE MACHINE IS BUSY WITH OTHER THINGS (load ${load.toFixed(1)}): THE FIGURES WILL BE WRONG.`);
  if (machine.pinned) say('  Each gateway has the first core, which upstream, load, Redis and NATS keep off.');
  else
    say(
      '  GATEWAYS SHARE ALL CORES WITH THE REST (one core, or no taskset): their requests/s are what is left to them.',
    );
  say();
}
