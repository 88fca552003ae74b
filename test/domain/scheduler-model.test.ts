import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import type { AgentSpec } from '#shared/contracts/agent.ts';
import type { Draft, Recorded } from '#shared/contracts/events.ts';
import { priorities } from '#shared/contracts/ids.ts';
import type { Run } from '#shared/domain/run.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { recorded } from '#test/helpers/events.ts';
import { schedulerLimits } from '#test/helpers/plan.ts';
import { emptyBoard } from '../../services/scheduler/board.ts';
import type { Action } from '../../services/scheduler/due.ts';
import { oldestEvery } from '../../services/scheduler/lanes.ts';
import { createScheduler } from '../../services/scheduler/scheduler.ts';
import { pack, unpack } from '../../services/scheduler/snapshot.ts';

// Random graphs of agents, arrivals, ends and limits; after each step the scheduler is compared with rules that are written down
// here without its indexes, and at the end all work must be done.

const runsMax = 10_000;
const limits = schedulerLimits({
  ...{ ahead: 1, workstreamTimeoutS: 1e9, spawnTimeoutS: 1e9, criticalAlone: true },
  workstreams: new Map([['w0', 2]]),
  models: new Map([['large', 1]]),
});

const agentArbitrary = (index: number) =>
  fc.record({
    priority: fc.constantFrom(...priorities),
    workstream: fc.constantFrom('w0', 'w1', 'w2'),
    model: fc.constantFrom('large', 'small'),
    concurrent: fc.integer({ min: 1, max: 2 }),
    branch: fc.constantFrom('share', 'wait', 'queue') as fc.Arbitrary<AgentSpec['ownership']['branch']>,
    repository: fc.constantFrom(undefined, 'r'),
    objectives: fc.integer({ min: 1, max: 3 }),
    chained: fc.boolean(),
    // Only agents before it: a graph without circles.
    dependsOn: fc.uniqueArray(fc.nat(Math.max(0, index - 1)), { maxLength: index === 0 ? 0 : 2 }),
  });
type ValueOf<A> = A extends fc.Arbitrary<infer T> ? T : never;
type AgentShape = ValueOf<ReturnType<typeof agentArbitrary>>;

const worldArbitrary = fc
  .integer({ min: 1, max: 8 })
  .chain((count) => fc.tuple(...Array.from({ length: count }, (_, index) => agentArbitrary(index))));

const stepArbitrary = fc.oneof(
  { weight: 4, arbitrary: fc.constant('schedule' as const) },
  {
    weight: 3,
    arbitrary: fc.record({
      end: fc.nat(50),
      how: fc.constantFrom('complete', 'complete', 'complete', 'fail', 'retry', 'cancel'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ input: fc.nat(50) }) },
  { weight: 1, arbitrary: fc.record({ pause: fc.nat(50) }) },
  { weight: 1, arbitrary: fc.record({ resume: fc.nat(50) }) },
);
type Step = ValueOf<typeof stepArbitrary>;

const specOf = (shape: AgentShape, index: number): AgentSpec =>
  agentSpec({
    name: `a${index}`,
    priority: shape.priority,
    workstream: shape.workstream,
    model: shape.model,
    branch: 'b',
    ...(shape.repository ? { repository: shape.repository } : {}),
    ownership: { branch: shape.branch },
    limits: { concurrent_runs: shape.concurrent },
    depends_on: shape.dependsOn.filter((each) => each < index).map((each) => `a${each}`),
    objectives: Array.from({ length: shape.objectives }, (_, at) => ({
      ...{ id: `o${at}`, description: 'x', deliverable: 'x', validation: 'x' },
      depends_on: shape.chained && at > 0 ? [`o${at - 1}`] : [],
    })),
  });

/** A world in which the scheduler's actions are carried out as the services would. */
function createWorld() {
  const scheduler = createScheduler(emptyBoard(), limits);
  const started: Run[] = [];
  /** By run, the starts of others since it could have been started. */
  const passed = new Map<string, number>();
  const most = { active: 0 };
  let seq = 0;
  let inputs = 0;
  const happen = (subject: string, ...drafts: Draft[]) => {
    for (const event of recorded(subject, drafts, seq + 1)) scheduler.apply(event as Recorded);
    seq += drafts.length;
  };
  const nowMs = () => Date.UTC(2026, 0, 1) + (seq + 1) * 1000;
  const queue = (runId: string, data: Extract<Draft, { type: 'toka.run.queued.v1' }>['data']) =>
    happen(`run/${runId}`, { type: 'toka.run.queued.v1', data });
  const carryOut = (action: Action) => {
    if (action.do === 'queue') {
      const { agent, work, occasion } = action;
      const { runId, since, trigger } = occasion;
      queue(runId, { agentId: agent.id, trigger, since, definition: definitionOf(agent.spec), work, parent: null });
    } else if (action.do === 'dispatch') {
      started.push(action.run);
      happen(
        `run/${action.run.id}`,
        { type: 'toka.run.dispatched.v1', data: { reason: 'x' } },
        { type: 'toka.run.started.v1', data: { runner: 'r' } },
      );
    } else if (action.do === 'fail') {
      happen(`run/${action.run.id}`, { type: 'toka.run.failed.v1', data: action.error });
    } else throw new Error(`not expected here: ${action.do}`);
  };
  const atWork = () => [...scheduler.board.active.values()].filter(({ status }) => status === 'running');
  return {
    ...{ scheduler, started, passed, most, happen, nowMs, carryOut, atWork },
    input(agentId: string) {
      const agent = scheduler.board.agents.get(agentId);
      const [work] = agent ? worksOf(agent.spec) : [];
      if (!agent || !work) return;
      inputs += 1;
      const id = `run_${String(inputs).padStart(26, '0')}`;
      const data = { agentId, trigger: 'api' as const, since: id, definition: definitionOf(agent.spec), work };
      queue(id, { ...data, parent: null });
    },
  };
}
type World = ReturnType<typeof createWorld>;

/** What could be started at that time, by the rules alone. */
function startable({ scheduler: { board }, atWork }: World, atMs: number): Run[] {
  const working = atWork();
  // A run that was put back after its start keeps its branch.
  const holders = [...board.active.values()].filter(
    ({ status, startedAt }) => status === 'running' || startedAt !== null,
  );
  const isReady = (run: Run) => {
    if (board.agents.get(run.agentId)?.status !== 'active') return false;
    if (run.status === 'waiting') return run.retryAt !== null && Date.parse(run.retryAt) <= atMs;
    if (run.status !== 'queued') return false;
    if (run.trigger === 'api') return true;
    const completed = (agentId: string, workId: string) =>
      board.latest.get(`${agentId}/${workId}`)?.status === 'completed';
    const others = run.work.dependsOnAgents.flatMap((name) => {
      const agent = board.agents.get(name);
      return agent ? worksOf(agent.spec).map(({ id }) => completed(name, id)) : [false];
    });
    return [...run.work.dependsOn.map((id) => completed(run.agentId, id)), ...others].every((each) => each);
  };
  const branchFree = (run: Run) => {
    const rivals = holders.filter(({ id, definition }) => id !== run.id && definition.repository !== undefined);
    if (run.definition.repository === undefined) return true;
    if (run.definition.ownership.branch !== 'share') return rivals.length === 0;
    return rivals.every(({ definition }) => definition.ownership.branch === 'share');
  };
  const fits = (run: Run) =>
    working.filter(({ agentId }) => agentId === run.agentId).length < (run.definition.limits.concurrent_runs ?? 1) &&
    (run.definition.workstream !== 'w0' ||
      working.filter(({ definition }) => definition.workstream === 'w0').length < 2) &&
    (run.definition.model !== 'large' || working.every(({ definition }) => definition.model !== 'large')) &&
    (run.work.priority !== 'critical' || working.every(({ work }) => work.priority !== 'critical')) &&
    branchFree(run);
  return [...board.active.values()].filter((run) => isReady(run) && fits(run));
}

const level = (run: Run) => priorities.indexOf(run.work.priority);
const dueOf = (run: Run) => Math.max(Date.parse(run.queuedAt), run.retryAt ? Date.parse(run.retryAt) : 0);

/** Lets the scheduler do one round, and checks what it starts. */
function round(world: World): void {
  const { scheduler, nowMs, carryOut, atWork, started, passed, most } = world;
  const atMs = nowMs();
  const actions = scheduler.due(atMs, 100);
  // What is queued in the same round was not known when it was decided who starts.
  for (const action of actions) {
    if (action.do !== 'dispatch') continue;
    const { run } = action;
    const could = startable(world, atMs);
    assert.ok(
      could.some(({ id }) => id === run.id),
      `${run.id} could not be started: a limit, or it is not ready`,
    );
    for (const id of passed.keys()) if (!could.some((other) => other.id === id)) passed.delete(id);
    for (const { id } of could) passed.set(id, (passed.get(id) ?? 0) + 1);
    most.active = Math.max(most.active, scheduler.board.active.size);
    const mostPassed = Math.max(...passed.values());
    assert.ok(mostPassed <= oldestEvery * (most.active + 1), `one was passed ${mostPassed} times`);
    const isTurnOfOldest = started.length % oldestEvery === oldestEvery - 1;
    const criticalAtWork = atWork().some(({ work }) => work.priority === 'critical');
    assert.ok(!criticalAtWork || isTurnOfOldest, 'something was started beside a critical run');
    if (!isTurnOfOldest) {
      const waiting = could.filter(({ definition }) => definition.ownership.branch !== 'queue');
      assert.ok(
        waiting.every((other) => level(other) >= level(run) || isQueueing(world, other)),
        'a more urgent one waits',
      );
      const same = could.filter(
        (other) => level(other) === level(run) && other.definition.workstream === run.definition.workstream,
      );
      assert.ok(
        same.every((other) => dueOf(other) >= dueOf(run) || isQueueing(world, other)),
        'one that is due longer waits',
      );
    }
    passed.delete(run.id);
    carryOut(action);
  }
  for (const action of actions.filter((each) => each.do !== 'dispatch')) carryOut(action);
}

/** Whether it may have to wait behind one that holds out for its turn at a branch. */
const isQueueing = ({ scheduler: { board } }: World, run: Run) =>
  run.definition.repository !== undefined &&
  board.active.values().some(({ definition }) => definition.repository && definition.ownership.branch === 'queue');

function take(world: World, step: Exclude<Step, 'schedule'>): void {
  const { scheduler, happen, atWork, nowMs } = world;
  const agents = [...scheduler.board.agents.values()];
  const pick = <T>(all: readonly T[], at: number): T | undefined => all[at % Math.max(1, all.length)];
  if ('input' in step) world.input(`a${step.input % agents.length}`);
  else if ('pause' in step) {
    const agent = pick(
      agents.filter(({ status }) => status === 'active'),
      step.pause,
    );
    if (agent) happen(`agent/${agent.id}`, { type: 'toka.agent.paused.v1', data: { reason: 'x' } });
  } else if ('resume' in step) {
    const agent = pick(
      agents.filter(({ status }) => status === 'paused'),
      step.resume,
    );
    if (agent) happen(`agent/${agent.id}`, { type: 'toka.agent.resumed.v1', data: { reason: 'x' } });
  } else {
    const run = pick(atWork(), step.end);
    if (run) happen(`run/${run.id}`, endings(nowMs())[step.how] as Draft);
  }
}

const endings = (nowMs: number): Record<string, Draft> => ({
  complete: { type: 'toka.run.completed.v1', data: { result: '' } },
  fail: { type: 'toka.run.failed.v1', data: { code: 'loop', message: 'x' } },
  cancel: { type: 'toka.run.cancelled.v1', data: { reason: 'x' } },
  retry: {
    type: 'toka.run.retry-scheduled.v1',
    data: { code: 'unavailable', message: 'x', at: new Date(nowMs + 5_000).toISOString() },
  },
});

test('whatever comes, no limit is passed, nothing goes before its turn, and all work is done in the end', async (t) => {
  await fc.assert(
    fc.asyncProperty(worldArbitrary, fc.array(stepArbitrary, { maxLength: 120 }), async (shapes, steps) => {
      const world = createWorld();
      const { scheduler, happen, atWork, nowMs } = world;
      for (const [index, shape] of shapes.entries()) {
        const spec = specOf(shape, index);
        happen(`agent/${spec.name}`, { type: 'toka.agent.registered.v1', data: { spec, origin: 'api' } });
      }
      for (const step of steps) {
        if (step === 'schedule') round(world);
        else take(world, step);
      }
      // A scheduler that begins here, from what was kept, would do what this one does.
      round(world);
      const kept = await unpack(await pack(scheduler.board, 1));
      const fresh = kept && createScheduler(kept.board, limits).due(nowMs(), 100);
      const left = scheduler.due(nowMs(), 100);
      assert.deepEqual(
        new Set(fresh?.filter(({ do: what }) => what !== 'dispatch').map(({ do: what }) => what)),
        new Set(left.filter(({ do: what }) => what !== 'dispatch').map(({ do: what }) => what)),
      );
      // Turns are counted anew: they decide who starts beside a critical run, and who is before one that waits in turn for a branch.
      const byTurns = shapes.some(({ branch, repository }) => branch === 'queue' && repository !== undefined);
      if (!byTurns && !atWork().some(({ work }) => work.priority === 'critical'))
        assert.equal(
          fresh?.some(({ do: what }) => what === 'dispatch'),
          left.some(({ do: what }) => what === 'dispatch'),
        );
      for (const action of left) world.carryOut(action);

      for (const { id, status } of scheduler.board.agents.values())
        if (status === 'paused') happen(`agent/${id}`, { type: 'toka.agent.resumed.v1', data: { reason: 'x' } });
      for (let turns = 0; scheduler.board.active.size > 0 && turns < runsMax; turns++) {
        round(world);
        const [run] = atWork();
        if (run) happen(`run/${run.id}`, endings(nowMs()).complete as Draft);
        else
          happen('system/test', { type: 'toka.system.stopped.v1', data: { service: 'x', instance: 'x', reason: 'x' } });
      }
      assert.equal(scheduler.board.active.size, 0, 'something was never started');
      assert.equal(scheduler.count('queued') + scheduler.count('running') + scheduler.count('waiting'), 0);
    }),
    { numRuns: 1_000, includeErrorInReport: true },
  );
  t.pass();
});
