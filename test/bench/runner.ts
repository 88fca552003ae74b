import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import { messageOf } from '#shared/errors.ts';
import type { Batch, Contender, Measured } from './runner/batch.ts';
import { logBytes } from './runner/log-bytes.ts';
import { canSync, versionOf } from './runner/nats.ts';
import { openRestate } from './runner/restate.ts';
import type { Restate } from './runner/restate-install.ts';
import { installRestate } from './runner/restate-install.ts';
import { sandboxLatency } from './runner/sandbox-latency.ts';
import { median, row, rule, summed } from './runner/table.ts';
import { openToka } from './runner/toka.ts';

const turns = 5;
const atOnce = 50;
const processes = [1, 2, 4];
const wantedRatio = 2;
const sizes = {
  full: { rounds: 3, warm: 150, runs: 400, boxed: 20, startMsMax: 165_000 },
  quick: { rounds: 1, warm: 50, runs: 100, boxed: 5, startMsMax: 25_000 },
};

const usage = `npm run bench -- runner [--quick] [--no-sync] [--no-restate] [--nats <nats-server>] [--tool <name>]
  --no-sync  neither side waits for the disk (else both do, if this nats-server can)
  --tool     what the model calls; without it: what needs no sandbox`;

const say = (line = '') => process.stdout.write(`${line}\n`);

/** What a runner makes of a model without latency, beside Restate's durable steps: turns a second, then bytes on the log for each. */
export async function runner(args: string[]): Promise<void> {
  const { quick, nats, tool, ...given } = options(args);
  const size = quick ? sizes.quick : sizes.full;
  const startedMs = performance.now();
  const synced = !given['no-sync'] && (await canSync(nats));
  const restate = given['no-restate'] ? undefined : await restateIfAny();
  explain({ nats, synced, asked: !given['no-sync'], tool });

  const measured = new Map<string, Measured[]>();
  const run = async (name: string, open: () => Promise<Contender>, runs = size.runs, warm = size.warm) => {
    try {
      const result = await measureOnce(open, { runs, turns, atOnce }, warm);
      measured.set(name, [...(measured.get(name) ?? []), result]);
      say(row(name, result));
    } catch (error) {
      say(`  ${name} COULD NOT BE MEASURED: ${messageOf(error)}`);
    }
  };
  say(row());
  for (let round = 1; round <= size.rounds; round++) {
    say(rule(`round ${round} of ${size.rounds}, load ${loadavg()[0]?.toFixed(1)}`));
    for (const count of processes) {
      if (performance.now() - startedMs > size.startMsMax) continue;
      await run(nameOf('toka', count), () => openToka({ nats, synced, runners: count, atOnce, tool }));
      if (restate) await run(nameOf('restate', count), () => openRestate(restate, { synced, handlers: count }));
    }
  }
  if (!tool) {
    say(rule('each run with a sandbox of its own (list_files), 10 at a time'));
    const boxed = () => openToka({ nats, synced, runners: 1, atOnce, tool: 'list_files' });
    await run('toka, sandbox', boxed, size.boxed, 2);
  }
  const ratios = conclude(measured, restate !== undefined);
  const bytes = await logBytes({ nats, synced });
  say();
  say('log bytes a turn (linear: they stay about equal)');
  for (const { turns: count, bytesPerTurn } of bytes)
    say(`  a run of ${String(count).padStart(4)} turns: ${bytesPerTurn.toFixed(0)} bytes a turn`);
  const sandbox = await sandboxLatency(quick).catch((error) => ({
    sandbox: `could not be measured: ${messageOf(error)}`,
  }));
  say('sandbox');
  for (const [what, words] of Object.entries(sandbox)) say(`  ${what}: ${words}`);
  const medians = Object.fromEntries([...measured].map(([name, list]) => [name, summed(list)]));
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  say(`it took ${seconds} s`);
  say();
  say(
    JSON.stringify({ bench: 'runner', quick, synced, nats: versionOf(nats), medians, ratios, bytes, sandbox, seconds }),
  );
}

const nameOf = (side: 'toka' | 'restate', count: number) =>
  `${side}, ${count} ${side === 'toka' ? 'runner' : 'handler'}${count > 1 ? 's' : ''}`;

function options(args: string[]) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        quick: { type: 'boolean', default: false },
        'no-sync': { type: 'boolean', default: false },
        'no-restate': { type: 'boolean', default: false },
        nats: { type: 'string', default: 'nats-server' },
        tool: { type: 'string' },
      },
    });
    return values;
  } catch (error) {
    process.stderr.write(`${messageOf(error)}\n${usage}\n`);
    process.exit(1);
  }
}

async function restateIfAny(): Promise<Restate | undefined> {
  try {
    return await installRestate();
  } catch (error) {
    say(`RESTATE COULD NOT BE HAD, SO THERE IS NOTHING BESIDE TOKA'S NUMBERS: ${messageOf(error)}`);
    return undefined;
  }
}

function explain({
  nats,
  synced,
  asked,
  tool,
}: {
  nats: string;
  synced: boolean;
  asked: boolean;
  tool: string | undefined;
}) {
  say(`${turns}-turn runs, ${atOnce} at a time, a model without latency`);
  say(
    `  toka: a run is on the log as queued and dispatched beforehand; measured is from its task on the queue to its end. Scheduler, store and`,
  );
  say(
    `        gateway are left out. A turn = the model's answer, the tool's call (${tool ?? 'recall, done by the runner itself'}) and its result: up to 3 durable records.`,
  );
  say(
    '  restate: a call over its ingress to a handler with 5 ctx.run, each recording the same answer. A turn = one ctx.run.',
  );
  if (synced) say('  disk: both sides have synced a record before it counts (sync_interval: always; WAL fsync).');
  else if (asked)
    say(`  disk: ${versionOf(nats)} CANNOT SYNC EACH RECORD (2.10 can): neither side waits for the disk here.`);
  else say('  disk: neither side waits for it (--no-sync).');
  say();
}

async function measureOnce(open: () => Promise<Contender>, batch: Batch, warm: number): Promise<Measured> {
  await using contender = await open();
  await contender.measure({ ...batch, runs: warm });
  return await contender.measure(batch);
}

/** Says the medians side by side, and whether they are what is wanted; answers the ratios by number of processes. */
function conclude(measured: ReadonlyMap<string, Measured[]>, compared: boolean): Record<string, number> {
  const ratios: Record<string, number> = {};
  say(rule('medians'));
  for (const [name, list] of measured) {
    const { turnsPerSecond, runsPerSecond, recordsPerSecond } = summed(list);
    const records = recordsPerSecond === null ? '' : `, ${recordsPerSecond} durable records/s`;
    say(`  ${name.padEnd(20)} ${turnsPerSecond} turns/s, ${runsPerSecond} runs/s${records}`);
  }
  if (!compared) return ratios;
  for (const count of processes) {
    const [toka = [], restate = []] = [measured.get(nameOf('toka', count)), measured.get(nameOf('restate', count))];
    const rates = toka.flatMap((each, round) => {
      const other = restate[round];
      return other ? [each.turns / each.seconds / (other.turns / other.seconds)] : [];
    });
    if (rates.length === 0) continue;
    const ratio = median(rates);
    ratios[count] = Number(ratio.toFixed(2));
    say(
      `  turns/s, toka to restate, ${count} process${count > 1 ? 'es' : ''} each: ${ratio.toFixed(2)} (wanted: at least ${wantedRatio}: ${ratio >= wantedRatio ? 'met' : 'NOT MET'})`,
    );
  }
  return ratios;
}
