import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { DataOf, Recorded } from '#shared/contracts/events.ts';
import { getScheduling } from '#shared/contracts/scheduling.ts';
import { agentInput } from '#test/helpers/agents.ts';
import { eventually } from '#test/helpers/eventually.ts';
import type { FakeProvider, FakeScript } from '#test/helpers/fake-provider.ts';
import { anthropicAt, startFakeProvider } from '#test/helpers/fake-provider.ts';
import type { System } from '#test/helpers/system.ts';
import { startSystem, tokenOf } from '#test/helpers/system.ts';

const ended = new Set(['toka.run.completed.v1', 'toka.run.failed.v1', 'toka.run.cancelled.v1']);

type Stage = { system: System; provider: FakeProvider; post(path: string, body?: unknown): Promise<Response> };

/** A system whose agent has no work of its own; runs are asked for. */
async function open(
  stack: AsyncDisposableStack,
  environment: Record<string, string> = {},
  script: FakeScript = () => ({ text: 'Done.' }),
  agent: Partial<AgentInput> = {},
): Promise<Stage> {
  const provider = stack.use(await startFakeProvider({ script, delayMs: 50 }));
  const system = stack.use(
    await startSystem({
      agents: '',
      environment: {
        ...anthropicAt(provider),
        ...{ RESPONSE_CACHE_ENABLED: 'false', RATE_LIMIT_REQUESTS: '100000' },
        ...{ HTTP_RATE_LIMIT_REQUESTS: '100000', ...environment },
      },
    }),
  );
  const headers = { authorization: `Bearer ${await tokenOf('admin')}`, 'content-type': 'application/json' };
  const post = async (path: string, body?: unknown) => {
    const init = { method: 'POST', headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    return eventually(async () => {
      const response = await fetch(system.api + path, init).catch(() => undefined);
      return response && response.status < 500 ? response : undefined;
    });
  };
  const spec = agentInput({ schedule: '0 0 1 1 *', limits: { concurrent_runs: 500 }, ...agent });
  if ((await post('/agents', spec)).status !== 201) throw new Error('the agent could not be made');
  return { system, provider, post };
}

const ask = async ({ post }: Stage, count: number): Promise<string[]> =>
  Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const response = await post('/agents/scout/runs', { input: `Say done, ${index}` });
      return ((await response.json()) as { id: string }).id;
    }),
  );

const of = (events: readonly Recorded[], runId: string) => events.filter(({ subject }) => subject === `run/${runId}`);
const count = (events: readonly Recorded[], type: string) =>
  events.filter((event) => event.type === `toka.run.${type}.v1`).length;

/** All have ended well, each dispatched and started just once, unless it was put back or its runner went. */
async function allWell(t: ExecutionContext, { system }: Stage, runs: readonly string[], isOnce = true): Promise<void> {
  const isDone = (id: string) => of(system.events, id).some(({ type }) => ended.has(type));
  await eventually(() => runs.every(isDone), 60_000).catch((error) => {
    for (const id of runs.filter((each) => !isDone(each)).slice(0, 3))
      t.log(
        id,
        of(system.events, id).map(({ type, time }) => `${type} ${time}`),
      );
    throw error;
  });
  for (const id of runs) {
    const own = of(system.events, id);
    t.is(own.at(-1)?.type, 'toka.run.completed.v1', id);
    t.is(count(own, 'completed'), 1);
    t.is(count(own, 'dispatched'), 1 + count(own, 'retry-scheduled'), `${id} was dispatched twice`);
    if (isOnce) t.is(count(own, 'step-completed'), 1, `${id} was worked on twice`);
  }
}

const leaderOf = async ({ system }: Stage) =>
  (await system.bus.ask(getScheduling, {}).catch(() => null))?.leader ?? null;

test.serial(
  'a leader that is killed is followed in three seconds by another, and no run is dispatched twice or forgotten',
  async (t) => {
    await using stack = new AsyncDisposableStack();
    const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '4' });
    const { system } = stage;
    await system.another('scheduler', { INSTANCE: 'second' });
    const runs = await ask(stage, 60);
    const first = await eventually(() => leaderOf(stage));
    t.not(first, 'second');
    await eventually(() => count(system.events, 'completed') > 10);
    await system.kill('scheduler');
    const killedMs = performance.now();
    await eventually(async () => (await leaderOf(stage)) === 'second');
    const tookMs = performance.now() - killedMs;
    t.log(`another led after ${Math.round(tookMs)} ms`);
    t.true(tookMs < 3_000, `${tookMs}`);
    await allWell(t, stage, runs);
  },
);

test.serial('a leader that was paused and wakes does no harm', async (t) => {
  await using stack = new AsyncDisposableStack();
  const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '4' });
  const { system } = stage;
  await system.kill('scheduler');
  const one = await system.another('scheduler', { INSTANCE: 'one' });
  await eventually(async () => (await leaderOf(stage)) === 'one');
  const two = await system.another('scheduler', { INSTANCE: 'two' });
  const runs = await ask(stage, 80);
  for (const [leader, next] of [
    [one, 'two'],
    [two, 'one'],
  ] as const) {
    await eventually(() => count(system.events, 'completed') > (next === 'two' ? 5 : 30));
    await leader.signal('SIGSTOP');
    await delay(2_500); // longer than a lease
    await leader.signal('SIGCONT');
    await eventually(async () => (await leaderOf(stage)) === next);
  }
  await allWell(t, stage, runs);
});

test.serial('a runner that is killed with fifty runs at work leaves all of them to another', async (t) => {
  await using stack = new AsyncDisposableStack();
  const gate = Promise.withResolvers<void>();
  const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '50', LLM_CONCURRENCY: '200' }, async () => {
    await gate.promise;
    return { text: 'Done.' };
  });
  const { system, provider } = stage;
  const runs = await ask(stage, 50);
  await eventually(() => provider.requests.length >= 50);
  await system.another('agent-runner', { WORKSPACE_DIR: `${system.folder}/workspaces-2` });
  await system.kill('agent-runner');
  gate.resolve();
  await allWell(t, stage, runs);
  t.is(count(system.events, 'started'), 100);
});

test.serial('three runners share the work', async (t) => {
  await using stack = new AsyncDisposableStack();
  const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '5' });
  const { system } = stage;
  for (const name of ['2', '3'])
    await system.another('agent-runner', {
      WORKSPACE_DIR: `${system.folder}/workspaces-${name}`,
      INSTANCE: `r${name}`,
    });
  await eventually(async () => (await system.bus.ask(getScheduling, {})).slots === 15);
  const runs = await ask(stage, 90);
  await allWell(t, stage, runs);
  const starts = system.events.flatMap(({ type, data }) =>
    type === 'toka.run.started.v1' ? [(data as DataOf<'toka.run.started.v1'>).runner] : [],
  );
  const shares = [...Map.groupBy(starts, (runner) => runner).values()].map((each) => each.length);
  t.log(`shares: ${shares.join(', ')}`);
  t.is(shares.length, 3);
  t.true(Math.min(...shares) >= 15, 'none is idle while the others work');
});

test.serial(
  'a runner that is told to go takes nothing more, and what waited for it is begun elsewhere at once',
  async (t) => {
    await using stack = new AsyncDisposableStack();
    const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '2', SHUTDOWN_GRACE: '1' }, async () => {
      await delay(3_000);
      return { text: 'Done.' };
    });
    const { system } = stage;
    await system.kill('agent-runner');
    const leaving = await system.another('agent-runner', { INSTANCE: 'leaving' });
    const runs = await ask(stage, 6);
    await eventually(() => count(system.events, 'started') === 2);
    await system.another('agent-runner', { WORKSPACE_DIR: `${system.folder}/workspaces-2`, INSTANCE: 'staying' });
    const toldMs = Date.now();
    await leaving.signal('SIGTERM');
    await allWell(t, stage, runs);
    const late = system.events.filter(
      ({ type, data, time }) =>
        type === 'toka.run.started.v1' &&
        (data as DataOf<'toka.run.started.v1'>).runner === 'leaving' &&
        Date.parse(time) > toldMs + 200,
    );
    t.deepEqual(late, []);
    const back = system.events.flatMap(({ type, data }) =>
      type === 'toka.run.retry-scheduled.v1' ? [(data as DataOf<'toka.run.retry-scheduled.v1'>).code] : [],
    );
    t.deepEqual(back, ['handed-back', 'handed-back'], 'what it was at is said to go on elsewhere');
    const next = system.events.find(
      ({ type, data }) =>
        type === 'toka.run.started.v1' && (data as DataOf<'toka.run.started.v1'>).runner === 'staying',
    );
    t.true(Date.parse(next?.time ?? '') - toldMs < 2_000);
  },
);

test.serial('services that are restarted one after the other under load lose nothing', async (t) => {
  await using stack = new AsyncDisposableStack();
  const stage = await open(stack, { MAX_CONCURRENT_AGENTS: '5' });
  const { system } = stage;
  const runs: string[] = [];
  let isOver = false;
  const asking = (async () => {
    while (!isOver) {
      if (runs.length - count(system.events, 'completed') < 20) runs.push(...(await ask(stage, 2)));
      else await delay(20);
    }
  })();
  for (const name of ['scheduler', 'agent-runner', 'llm-proxy', 'store', 'scheduler'] as const) {
    const from = count(system.events, 'completed');
    // The new one comes before the old one goes.
    const settings: Record<string, string> =
      name === 'agent-runner' ? { WORKSPACE_DIR: `${system.folder}/workspaces-2` } : {};
    if (name !== 'store') await system.another(name, settings);
    await system.kill(name);
    if (name === 'store') await system.start(name);
    await eventually(() => count(system.events, 'completed') > from + 10);
    if (name === 'scheduler') await system.start(name);
  }
  isOver = true;
  await asking;
  t.log(`${runs.length} runs`);
  // What its runner was killed in the middle of was not recorded, and is done once more.
  await allWell(t, stage, runs);
});

test.serial('a cancelled run ends a command in its sandbox in less than a second', async (t) => {
  await using stack = new AsyncDisposableStack();
  const seconds = '98764';
  const stage = await open(
    stack,
    {},
    () => ({ text: '', toolCalls: [{ tool: 'shell', args: { command: `sleep ${seconds}` } }] }),
    { capabilities: { primary: ['shell', 'filesystem-read', 'filesystem-write'], secondary: [] } },
  );
  const { system, post } = stage;
  const isThere = () => execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' }).includes(`sleep ${seconds}`);
  const [run = ''] = await ask(stage, 1);
  await eventually(isThere);
  const cancelledMs = performance.now();
  t.is((await post(`/runs/${run}/cancel`, { reason: 'enough' })).status, 200);
  await eventually(() => !isThere());
  const tookMs = performance.now() - cancelledMs;
  t.log(`gone after ${Math.round(tookMs)} ms`);
  t.true(tookMs < 1_000, `${tookMs}`);
  await system.saw(({ type, subject }) => type === 'toka.run.cancelled.v1' && subject === `run/${run}`);
  t.is(of(system.events, run).at(-1)?.type, 'toka.run.cancelled.v1');
});
