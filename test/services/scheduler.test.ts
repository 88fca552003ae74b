import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Bus } from '#shared/bus/bus.ts';
import { openBus } from '#shared/bus/bus.ts';
import type { DataOf, Draft } from '#shared/contracts/events.ts';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { newEvent } from '#shared/event.ts';
import { newId } from '#shared/ids.ts';
import type { Context } from '#shared/service.ts';
import { startService } from '#shared/service.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { queued } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { followEvents } from '#test/helpers/follow-events.ts';
import { startNats } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { Config } from '../../services/scheduler/config.ts';
import { startWith } from '../../services/scheduler/main.ts';
import { readSnapshot } from '../../services/scheduler/snapshot.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

const writer = { source: '/toka/test/1', actor: 'service:test' };

/** A log that is followed, and schedulers on it by a clock that can be set. */
async function open(environment: Record<string, string> = {}) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const folder = stack.use(await temporaryFolder()).path;
  const file = join(folder, 'agents.toml');
  await writeFile(file, '');
  const env = {
    ...{ NATS_URL: nats.url, METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent', CONFIG_FILE: file },
    ...{ DATABASE_FILE: join(folder, 'toka.sqlite'), SNAPSHOT_INTERVAL: '1', ...environment },
  };
  // It makes the streams.
  stack.use(await startService('store', StoreConfig, startStore, env));
  const bus = stack.use(await openBus({ url: nats.url, name: 'test', leaseMs: 1_000, replicas: 1 }, () => undefined));
  const events = followEvents(stack, bus);
  let shiftMs = 0;
  const owned = stack.move();
  return {
    ...{ bus, events, file },
    /** Sets the clock forward, or back. */
    shift: (ms: number) => {
      shiftMs += ms;
    },
    scheduler: (instance: string) => {
      const start = (context: Context<never>) => startWith(context, () => Date.now() + shiftMs);
      return startService('scheduler', Config, start as never, { ...env, INSTANCE: instance });
    },
    happen: (subject: string, draft: Draft) => bus.append(newEvent(draft, subject, writer)),
    runsOf: (type: string) => events.filter((event) => event.type === `toka.run.${type}.v1`),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const register = (bus: Bus, spec = agentSpec()) =>
  bus.append(
    newEvent({ type: 'toka.agent.registered.v1', data: { spec, origin: 'api' } }, `agent/${spec.name}`, writer),
  );

const hourMs = 3_600_000;
/** Events bear the real time, however the clock of the scheduler is set. */
const patient = { AGENT_SPAWN_TIMEOUT: '86400', WORKSTREAM_TIMEOUT: '864000' };

test('a clock that jumps gives one run for the latest time, however far it went, and none when it goes back', async (t) => {
  await using world = await open(patient);
  await using _scheduler = await world.scheduler('one');
  const { bus, runsOf, shift, happen } = world;
  await register(bus, agentSpec({ schedule: { cron: '0 * * * *', timezone: 'Asia/Kolkata' } }));
  shift(10 * hourMs);
  const first = await eventually(() => (runsOf('queued').length === 1 ? runsOf('queued')[0] : undefined));
  const { since } = first.data as DataOf<'toka.run.queued.v1'>;
  t.is(new Date(since).getUTCMinutes(), 30, 'the full hour in Kolkata');
  t.true(Date.parse(since) > Date.now() + 8 * hourMs);
  await eventually(() => runsOf('dispatched').length === 1);
  await happen(first.subject, { type: 'toka.run.completed.v1', data: { result: '' } });
  shift(-5 * hourMs);
  await register(bus, agentSpec({ name: 'other' }));
  await eventually(() => runsOf('dispatched').length === 2);
  t.is(runsOf('queued').length, 2, 'no time comes twice');
  shift(7 * hourMs);
  await eventually(() => runsOf('queued').length === 3);
});

test('what was missed is passed over where the agent says so, and a run that overlaps ends the one before', async (t) => {
  await using world = await open(patient);
  const { bus, runsOf, shift } = world;
  const cron = '*/10 * * * *';
  await register(bus, agentSpec({ name: 'skips', schedule: { cron, missed: 'skip' } }));
  await register(bus, agentSpec({ name: 'ends', schedule: { cron, overlap: 'cancel' } }));
  await register(bus, agentSpec({ name: 'waits', schedule: { cron, overlap: 'skip' } }));
  // Some minutes after a time that came while no scheduler was up.
  shift(2 * hourMs - (Date.now() % 600_000) + 300_000);
  await using _scheduler = await world.scheduler('one');
  const agents = () => runsOf('queued').map(({ data }) => (data as DataOf<'toka.run.queued.v1'>).agentId);
  await eventually(() => agents().length === 2);
  t.deepEqual(agents().toSorted(), ['ends', 'waits']);
  await eventually(() => runsOf('dispatched').length === 2);
  shift(600_000);
  await eventually(() => runsOf('cancelled').length === 1);
  await eventually(() => agents().filter((name) => name === 'ends').length === 2);
  t.is(agents().filter((name) => name === 'waits').length, 1);
  t.is(agents().filter((name) => name === 'skips').length, 0);
});

test('a scheduler begins with what was kept, and does nothing twice', async (t) => {
  await using world = await open();
  const { bus, runsOf } = world;
  for (const name of ['a', 'b', 'c']) await register(bus, agentSpec({ name }));
  const first = await world.scheduler('one');
  await eventually(() => runsOf('dispatched').length === 2);
  const logger = { warn: t.log } as never;
  const kept = await eventually(async () => {
    const found = await readSnapshot(bus, logger);
    return found.seq > 0 && found.board.active.size === 3 ? found : undefined;
  });
  t.is(kept.board.agents.size, 3);
  await first[Symbol.asyncDispose]();
  const [run] = runsOf('dispatched');
  await world.happen(run?.subject ?? '', { type: 'toka.run.completed.v1', data: { result: '' } });
  await using _second = await world.scheduler('two');
  await eventually(() => runsOf('dispatched').length === 3);
  await eventually(async () => (await bus.ask(getScheduling, {})).leader === 'two');
  t.is(new Set(runsOf('dispatched').map(({ subject }) => subject)).size, 3);
  t.is(runsOf('queued').length, 3);
  await bus.snapshots.put('scheduler', Buffer.from('nonsense'));
  t.is((await readSnapshot(bus, { warn: () => undefined } as never)).seq, 0, 'then the whole log is read');
});

test('a changed file takes effect at once, with what it did on the log; a bad one changes nothing', async (t) => {
  await using world = await open();
  await using _scheduler = await world.scheduler('one');
  const { events, file } = world;
  const toml = (version: string, more = '') => `
[[agents]]
name = "scout"
version = "${version}"
domain = "docs"
priority = "high"
workstream = "main"
branch = "main"
capabilities = { primary = [], secondary = [] }
objectives = [{ description = "x", deliverable = "x", validation = "x" }]
${more}`;
  const loads = () => events.flatMap((event) => (event.type === 'toka.system.config-loaded.v1' ? [event.data] : []));
  await eventually(() => loads().length === 1);
  await writeFile(file, toml('1'));
  await eventually(() => loads().length === 2);
  t.like(loads()[1], { registered: ['scout'], updated: [], problems: [] });
  await writeFile(file, toml('2'));
  await eventually(() => loads().length === 3);
  t.like(loads()[2], { registered: [], updated: ['scout'] });
  await writeFile(file, toml('3', 'colour = "red"'));
  await eventually(() => loads().length === 4);
  t.like(loads()[3], { registered: [], updated: [] });
  t.is(loads()[3]?.problems[0]?.field, 'agents[1].colour');
  t.is(events.filter(({ type }) => type === 'toka.agent.updated.v1').length, 1);
  await writeFile(file, '');
  await eventually(() => loads().length === 5);
  t.is(loads()[4]?.left[0]?.agent, 'scout');
  process.emit('SIGHUP', 'SIGHUP');
  await eventually(() => loads().length === 6);
});

test('an agent that keeps failing is quarantined by an event, and its next run waits for a person', async (t) => {
  await using world = await open({ QUARANTINE_AFTER: '3', TASKS_AHEAD: '10' });
  await using _scheduler = await world.scheduler('one');
  const { bus, events, happen, runsOf } = world;
  await register(bus, agentSpec({ schedule: '0 0 1 1 *' }));
  const ask = async () => {
    const id = newId('run');
    const data = { ...(queued.data as DataOf<'toka.run.queued.v1'>), agentId: 'scout', trigger: 'api' as const };
    await happen(`run/${id}`, { type: 'toka.run.queued.v1', data });
    return id;
  };
  for (let count = 1; count <= 3; count++) {
    const id = await ask();
    await eventually(() => runsOf('dispatched').some(({ subject }) => subject === `run/${id}`));
    await happen(`run/${id}`, { type: 'toka.run.failed.v1', data: { code: 'loop', message: 'x' } });
  }
  await eventually(() => events.find(({ type }) => type === 'toka.agent.quarantined.v1'));
  const held = await ask();
  await new Promise((resolve) => setTimeout(resolve, 700));
  t.false(runsOf('dispatched').some(({ subject }) => subject === `run/${held}`));
  await happen('agent/scout', { type: 'toka.agent.resumed.v1', data: { reason: 'looked at' } });
  await eventually(() => runsOf('dispatched').some(({ subject }) => subject === `run/${held}`));
});
