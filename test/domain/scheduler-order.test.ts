import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { Draft, Recorded } from '#shared/contracts/events.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { recorded, step } from '#test/helpers/events.ts';
import type { PlanLimits } from '#test/helpers/plan.ts';
import { schedulerLimits } from '#test/helpers/plan.ts';
import { emptyBoard } from '../../services/scheduler/board.ts';
import { oldestEvery } from '../../services/scheduler/lanes.ts';
import { createScheduler } from '../../services/scheduler/scheduler.ts';

const startMs = Date.UTC(2026, 0, 1);

/** A scheduler that is told of ad-hoc runs, a second apart, and of what becomes of them. */
function world(changes: Partial<PlanLimits> = {}) {
  const scheduler = createScheduler(emptyBoard(), schedulerLimits({ ahead: 1, workstreamTimeoutS: 1e9, ...changes }));
  let seq = 0;
  let count = 0;
  const happen = (subject: string, ...drafts: Draft[]) => {
    for (const event of recorded(subject, drafts, seq + 1)) scheduler.apply(event as Recorded);
    seq += drafts.length;
  };
  const nowMs = () => startMs + (seq + 1) * 1000;
  return {
    scheduler,
    happen,
    /** An agent without a run of its own: its objective waits for a time that does not come. */
    agent(changesOfAgent: Partial<AgentInput>) {
      const spec = agentSpec({ schedule: '0 0 30 2 *', ...changesOfAgent });
      happen(`agent/${spec.name}`, { type: 'toka.agent.registered.v1', data: { spec, origin: 'api' } });
    },
    run(agentId: string, parent: string | null = null): string {
      const agent = scheduler.board.agents.get(agentId);
      const [work] = agent ? worksOf(agent.spec) : [];
      if (!agent || !work) throw new Error(`there is no agent ${agentId}`);
      count += 1;
      const id = `run_${String(count).padStart(26, '0')}`;
      const data = {
        ...{ agentId, trigger: 'api' as const, since: id, definition: definitionOf(agent.spec), work },
        parent: parent === null ? null : { runId: parent, callId: 'c', depth: 1 },
      };
      happen(`run/${id}`, { type: 'toka.run.queued.v1', data });
      return id;
    },
    /** Who is dispatched now, and then at work. */
    go(slots = 0): string[] {
      const runs = scheduler.due(nowMs(), slots).flatMap((action) => (action.do === 'dispatch' ? [action.run] : []));
      for (const { id } of runs)
        happen(
          `run/${id}`,
          { type: 'toka.run.dispatched.v1', data: { reason: 'x' } },
          { type: 'toka.run.started.v1', data: { runner: 'r' } },
        );
      return runs.map(({ agentId }) => agentId);
    },
    end(agentId: string) {
      const run = scheduler.board.active.values().find((each) => each.agentId === agentId && each.status === 'running');
      if (!run) throw new Error(`${agentId} has no run at work`);
      happen(`run/${run.id}`, { type: 'toka.run.completed.v1', data: { result: '' } });
    },
  };
}

test('within a priority, workstreams take turns, however many runs one of them has', (t) => {
  const w = world();
  for (const [name, workstream] of [
    ['a', 'big'],
    ['b', 'small'],
  ] as const)
    w.agent({ name, workstream, limits: { concurrent_runs: 100 } });
  for (let count = 0; count < 6; count++) w.run('a');
  w.run('b');
  w.run('b');
  const order = Array.from({ length: 6 }, () => w.go()).flat();
  t.is(order.filter((name) => name === 'b').length, 2);
  t.deepEqual(order.slice(0, 4).toSorted(), ['a', 'a', 'b', 'b']);
});

test('whoever waits longest comes at last, whatever is more urgent', (t) => {
  const w = world();
  w.agent({ name: 'urgent', priority: 'high', limits: { concurrent_runs: 1000 } });
  w.agent({ name: 'patient', priority: 'low' });
  w.run('patient');
  const order: string[] = [];
  for (let count = 0; count < 3 * oldestEvery && !order.includes('patient'); count++) {
    w.run('urgent');
    w.run('urgent');
    order.push(...w.go());
  }
  t.is(order.at(-1), 'patient');
  t.is(order.length, oldestEvery);
});

test('a critical run goes alone: nothing else is started before it ends', (t) => {
  const w = world({ criticalAlone: true });
  for (const priority of ['critical', 'high', 'low'] as const) w.agent({ name: priority, priority });
  w.agent({ name: 'other', priority: 'critical' });
  for (const name of ['low', 'high', 'critical', 'other']) w.run(name);
  t.deepEqual(w.go(10), ['critical']);
  t.deepEqual(w.go(10), []);
  w.end('critical');
  t.deepEqual(w.go(10), ['other']);
  w.end('other');
  t.deepEqual(w.go(10), ['high', 'low']);
});

test('caps hold for an agent, a workstream and a model, and free what they held', (t) => {
  const w = world({ workstreams: new Map([['docs', 2]]), models: new Map([['large', 1]]) });
  w.agent({ name: 'one' });
  w.agent({ name: 'two', limits: { concurrent_runs: 2 }, workstream: 'docs' });
  w.agent({ name: 'three', workstream: 'docs', model: 'large' });
  w.agent({ name: 'four', model: 'large' });
  for (const name of ['one', 'one', 'two', 'two', 'three', 'four']) w.run(name);
  t.deepEqual(w.go(10).toSorted(), ['four', 'one', 'two', 'two']);
  w.end('two');
  t.deepEqual(w.go(10), [], 'the model is taken');
  w.end('four');
  t.deepEqual(w.go(10), ['three']);
  w.end('one');
  t.deepEqual(w.go(10), ['one']);
});

test('a branch that one has alone is held while its run is parked, but not against what that run asked for', (t) => {
  const w = world();
  const repository = { repository: 'r', branch: 'b' };
  w.agent({ name: 'owner', ...repository, ownership: { branch: 'wait' } });
  w.agent({ name: 'helper', ...repository, ownership: { branch: 'wait' } });
  w.agent({ name: 'sharer', ...repository });
  w.agent({ name: 'elsewhere', ...repository, branch: 'c' });
  const owner = w.run('owner');
  t.deepEqual(w.go(10), ['owner']);
  const child = w.run('helper', owner);
  w.happen(`run/${owner}`, step('c', 'delegate'), {
    type: 'toka.run.delegated.v1',
    data: { callId: 'c-1', runId: child, agentId: 'helper' },
  });
  w.run('sharer');
  w.run('elsewhere');
  t.deepEqual(w.go(10).toSorted(), ['elsewhere', 'helper']);
  w.end('helper');
  t.deepEqual(w.go(10), []);
  w.happen(`run/${owner}`, { type: 'toka.run.cancelled.v1', data: { reason: 'x' } });
  t.deepEqual(w.go(10), ['sharer']);
});

test('two that hold a branch each and wait for runs that want the other one do not wait for ever', (t) => {
  const w = world();
  for (const branch of ['a', 'b']) {
    w.agent({ name: `holds-${branch}`, repository: 'r', branch, ownership: { branch: 'wait' } });
    w.agent({ name: `wants-${branch}`, repository: 'r', branch, ownership: { branch: 'wait' } });
  }
  const holders = [w.run('holds-a'), w.run('holds-b')];
  t.deepEqual(w.go(10).toSorted(), ['holds-a', 'holds-b']);
  const delegate = (parent = '', agentId = '') => {
    const runId = w.run(agentId, parent);
    w.happen(`run/${parent}`, step('c', 'delegate'), {
      type: 'toka.run.delegated.v1',
      data: { callId: 'c-1', runId, agentId },
    });
    return runId;
  };
  delegate(holders[0], 'wants-b');
  t.deepEqual(w.go(10), [], 'it may end well yet');
  delegate(holders[1], 'wants-a');
  const failed = w.scheduler.due(startMs + 60_000, 10).filter((action) => action.do === 'fail');
  t.deepEqual(
    failed.map(({ run, error }) => `${run.agentId}: ${error.code}`),
    ['wants-a: branch-circle'],
    'one of them',
  );
  w.happen(`run/${failed[0]?.run.id}`, { type: 'toka.run.failed.v1', data: { code: 'branch-circle', message: 'x' } });
  t.deepEqual(
    w.scheduler.due(startMs + 60_000, 10).map((action) => action.do),
    ['tell-parent'],
    'the other one waits for a branch that will be free',
  );
});

test('one that waits in turn for a branch is not passed by those behind it; one that just waits is', (t) => {
  for (const [access, then] of [
    ['wait', ['sharer']],
    ['queue', []],
  ] as const) {
    const w = world();
    const repository = { repository: 'r', branch: 'b' };
    w.agent({ name: 'first', ...repository });
    w.agent({ name: 'alone', ...repository, ownership: { branch: access } });
    w.agent({ name: 'sharer', ...repository });
    w.run('first');
    t.deepEqual(w.go(10), ['first']);
    w.run('alone');
    w.run('sharer');
    t.deepEqual(w.go(10), [...then], access);
  }
});

test('no more lies on the queue than free slots and a few ahead', (t) => {
  const w = world({ ahead: 2 });
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) w.agent({ name });
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) w.run(name);
  t.is(w.scheduler.due(startMs + 60_000, 3).length, 5);
  t.is(w.scheduler.due(startMs + 60_000, 3).length, 0, 'each is told once');
});

test('an agent whose runs fail again and again is quarantined, until a person resumes it', (t) => {
  const w = world({ quarantineAfter: 2, slots: 10 });
  w.agent({ name: 'a' });
  const fail = (code: string) => {
    const id = w.run('a');
    w.go(10);
    w.happen(`run/${id}`, { type: 'toka.run.failed.v1', data: { code, message: 'x' } });
    return w.scheduler.due(startMs + 1e6, 10).map((action) => action.do);
  };
  t.deepEqual(fail('loop'), []);
  t.deepEqual(fail('dependency-failed'), [], 'that was not its fault');
  for (const code of ['unavailable', 'held-back', 'limited', 'spent', 'upstream', 'unpaid', 'unauthorized'])
    t.deepEqual(fail(code), [], `${code} is its model's`);
  t.deepEqual(fail('loop'), ['quarantine']);
  w.happen('agent/a', { type: 'toka.agent.quarantined.v1', data: { reason: 'x' } });
  w.run('a');
  t.deepEqual(w.go(10), []);
  w.happen('agent/a', { type: 'toka.agent.resumed.v1', data: { reason: 'x' } });
  t.deepEqual(w.go(10), ['a']);
});
