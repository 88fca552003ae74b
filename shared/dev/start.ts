import { setTimeout as delay } from 'node:timers/promises';
import { readAgentsFile } from '#shared/agents-file.ts';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Environment } from './launch/environment.ts';
import { readEnvironment } from './launch/environment.ts';
import { openHome } from './launch/home.ts';
import { liveLine } from './launch/live.ts';
import { readOptions, usage } from './launch/options.ts';
import type { World } from './launch/progress.ts';
import { emptyWorld, endedWell, fold, isIdle, progress } from './launch/progress.ts';
import { summary } from './launch/summary.ts';
import { adminOptions, startSystem } from './launch/system.ts';
import { framed } from './launch/words.ts';

// `npm start`: everything on this machine, without Docker.

const say = (line: string) => process.stdout.write(`${line}\n`);
const pollMs = 250;
const sessionStart = new Date().toISOString();

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(
    `\n${error instanceof Failure ? error.message : ((error as Error).stack ?? messageOf(error))}\n`,
  );
  process.exitCode = 1;
}
process.exit();

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options.help) {
    say(usage);
    return 0;
  }
  const stop = new AbortController();
  let failure = '';
  const lost = (reason: string) => {
    failure ||= reason;
    stop.abort();
  };
  let killAll = () => {};
  const told = () => {
    if (!stop.signal.aborted) return stop.abort();
    say('killing …'); // told twice
    killAll();
    process.exit(130);
  };
  process.on('SIGTERM', told).on('SIGINT', told);
  const startedMs = Date.now();
  using home = await openHome(options.home, say);
  const given = readEnvironment('.env', process.env);
  await using system = await startSystem(home, given, say, lost);
  killAll = system.kill;
  const { environment } = system;
  await using bus = await openBus(adminOptions(environment, 'launcher'), () => undefined);
  greet(environment, Date.now() - startedMs);
  const world = emptyWorld();
  const known = await bus.lastSeq(); // every service is ready: the agents' file is in the log
  const watching = watch(bus, world, known, stop.signal);
  const code = await (options.untilIdle ? untilIdle(world, known, environment, stop.signal) : aborted(stop.signal));
  stop.abort();
  say(failure === '' ? 'stopping …' : `stopping: ${failure}`);
  await watching;
  return failure === '' ? code : 1;
}

function aborted(signal: AbortSignal): Promise<number> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(0);
    signal.addEventListener('abort', () => resolve(0), { once: true });
  });
}

function greet(environment: Environment, tookMs: number): void {
  const { PORT, MANAGEMENT_PORT, NATS_URL, LLM_PROVIDER } = environment;
  say('');
  say(`Toka is up in ${(tookMs / 1000).toFixed(1)} s.`);
  say(`  Agent API    http://localhost:${PORT}`);
  say(`  Management   http://localhost:${MANAGEMENT_PORT}   (curl localhost:${MANAGEMENT_PORT}/agents/status)`);
  say(`  Events       ${NATS_URL}   (subjects toka.events.>)`);
  say('  A token      npm run -s toka -- token');
  say('  To stop      Ctrl-C; the data stays, and the next start goes on with it');
  say('');
  if (LLM_PROVIDER !== 'demo') return;
  say(
    framed([
      'DEMO PROVIDER: no language model is at work, only a few rules.',
      'For a real one put its key into .env, or start with it:',
      '',
      '    ANTHROPIC_API_KEY=… npm start        or   OPENAI_API_KEY=… npm start',
    ]),
  );
  say('');
}

/** Follows the log from its start, and tells what has happened since this start. */
async function watch(bus: Bus, world: World, known: number, signal: AbortSignal): Promise<void> {
  for await (const raw of bus.follow({ from: 1, signal })) {
    const event = bus.readEvent(raw);
    const run = event && fold(world, event);
    const isNew = event && (raw.seq > known || event.time >= sessionStart);
    const line = isNew ? liveLine(event, run) : undefined;
    if (line) say(line);
    world.seq = raw.seq;
  }
}

/** Waits until nothing is left to do for the agents of the file, and says what came of it. */
async function untilIdle(world: World, known: number, environment: Environment, signal: AbortSignal): Promise<number> {
  const file = readAgentsFile(environment.CONFIG_FILE ?? 'config/agents.toml');
  const names = file.agents.map(({ name }) => name);
  const rows = () => progress(world, names, Date.now());
  while (!signal.aborted && !(world.seq >= known && isIdle(rows()))) await delay(pollMs);
  if (signal.aborted) return 130;
  say('');
  say(summary(rows(), environment.DELIVERABLES_DIR ?? ''));
  say('');
  if (file.problems.length > 0) say(`${file.problems.length} problem(s) in the agents' file: see above`);
  return endedWell(rows()) && file.problems.length === 0 ? 0 : 1;
}
