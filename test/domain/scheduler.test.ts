import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { Draft, Recorded } from '#shared/contracts/events.ts';
import { heldMsOf } from '#shared/domain/run.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { isPassedOver, occasionOf, scheduled } from '#shared/occasion.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { recorded } from '#test/helpers/events.ts';
import type { PlanLimits } from '#test/helpers/plan.ts';
import { planOf } from '#test/helpers/plan.ts';
import { createTimers } from '../../services/scheduler/attention.ts';
import type { Board } from '../../services/scheduler/board.ts';
import { apply, emptyBoard, passOver } from '../../services/scheduler/board.ts';
import type { Action } from '../../services/scheduler/due.ts';
import { rosterChanges } from '../../services/scheduler/roster.ts';

const start = Date.UTC(2026, 0, 1);

type World = {
  board: Board;
  nowMs(): number;
  plan(nowMs?: number, changes?: Partial<PlanLimits>): Action[];
  happen(subject: string, ...drafts: Draft[]): void;
  agent(changes?: Partial<AgentInput>): void;
  carryOut(): void;
  do(action: Action): void;
  end(agentId: string, how: 'completed' | 'failed'): void;
};

/** A board on which agents were registered and events happened, a second apart from 2026 on. */
function world(): World {
  const board = emptyBoard();
  let seq = 0;
  const happen = (subject: string, ...drafts: Draft[]) => {
    for (const event of recorded(subject, drafts, seq + 1)) apply(board, event as Recorded);
    seq += drafts.length;
  };
  const self: World = {
    board,
    nowMs: () => start + (seq + 1) * 1000,
    plan: (nowMs = self.nowMs(), changes: Partial<PlanLimits> = {}) => planOf(board, nowMs, changes),
    happen,
    agent(changes: Partial<AgentInput> = {}) {
      const spec = agentSpec(changes);
      happen(`agent/${spec.name}`, { type: 'toka.agent.registered.v1', data: { spec, origin: 'file' } });
    },
    /** Does what the plan says, and what comes of it. */
    carryOut() {
      for (const action of self.plan()) self.do(action);
    },
    do(action: Action) {
      if (action.do === 'queue') {
        const { agent, work, occasion } = action;
        const data = {
          agentId: agent.id,
          trigger: occasion.trigger,
          since: occasion.since,
          definition: definitionOf(agent.spec),
          work,
          parent: null,
        };
        happen(`run/${occasion.runId}`, { type: 'toka.run.queued.v1', data });
      } else if (action.do === 'dispatch') {
        happen(`run/${action.run.id}`, { type: 'toka.run.dispatched.v1', data: { reason: action.reason } });
      } else if (action.do === 'fail') {
        happen(`run/${action.run.id}`, { type: 'toka.run.failed.v1', data: action.error });
      }
    },
    end(agentId: string, how: 'completed' | 'failed') {
      const run = [...board.active.values()].find((each) => each.agentId === agentId && each.status === 'dispatched');
      if (!run) throw new Error(`${agentId} has no dispatched run`);
      happen(
        `run/${run.id}`,
        how === 'completed'
          ? { type: 'toka.run.completed.v1', data: { result: '' } }
          : { type: 'toka.run.failed.v1', data: { code: 'x', message: 'x' } },
      );
    },
  };
  return self;
}

const said = (actions: Action[]) =>
  actions.map((action) =>
    action.do === 'queue'
      ? `queue ${action.agent.id}/${action.work.id}`
      : action.do === 'quarantine'
        ? `quarantine ${action.agent.id}`
        : `${action.do} ${action.run.agentId}/${action.run.work.id}`,
  );
const objective = (id: string, depends_on: string[] = []) => ({
  id,
  description: 'x',
  deliverable: 'x',
  validation: 'x',
  depends_on,
});

test('each work of an agent is queued once, then dispatched, one at a time for an agent', (t) => {
  const w = world();
  w.agent({ objectives: [objective('a'), objective('b')] });
  t.deepEqual(said(w.plan()), ['queue scout/a', 'queue scout/b']);
  w.carryOut();
  t.deepEqual(said(w.plan()), ['dispatch scout/a']);
  w.carryOut();
  t.deepEqual(said(w.plan()), []);
  w.end('scout', 'completed');
  t.deepEqual(said(w.plan()), ['dispatch scout/b']);
});

test('the more urgent agent goes first, and no more is dispatched than the queue may hold', (t) => {
  const w = world();
  for (const priority of ['low', 'critical', 'medium', 'high'] as const) w.agent({ name: priority, priority });
  w.carryOut();
  t.deepEqual(said(w.plan(undefined, { ahead: 3 })), [
    'dispatch critical/objective-1',
    'dispatch high/objective-1',
    'dispatch medium/objective-1',
  ]);
});

test('an objective waits for those it depends on, and fails when one of them failed', (t) => {
  const w = world();
  w.agent({ objectives: [objective('second', ['first']), objective('first'), objective('third', ['second'])] });
  w.carryOut();
  t.deepEqual(said(w.plan()), ['dispatch scout/first']);
  w.carryOut();
  w.end('scout', 'failed');
  t.deepEqual(said(w.plan()), ['fail scout/second']);
  w.carryOut();
  t.deepEqual(said(w.plan()), ['fail scout/third'], 'and so on down the line');
});

test('an agent waits for the agents that it depends on, registered or not', (t) => {
  const w = world();
  w.agent({ name: 'after', depends_on: ['before'] });
  w.carryOut();
  t.deepEqual(said(w.plan()), []);
  w.agent({ name: 'before' });
  w.carryOut();
  w.carryOut();
  w.end('before', 'completed');
  t.deepEqual(said(w.plan()), ['dispatch after/objective-1']);
});

test('a dispatched run that no runner starts in time is put back', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  w.carryOut();
  t.deepEqual(said(w.plan(start + 60_000)), []);
  t.deepEqual(said(w.plan(start + 64_000)), ['put-back scout/objective-1']);
});

test('a run that waits to be retried is dispatched when its time has come', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  w.carryOut();
  const [run] = w.board.active.values();
  const at = new Date(start + 30_000).toISOString();
  w.happen(`run/${run?.id}`, { type: 'toka.run.retry-scheduled.v1', data: { code: 'unavailable', message: 'x', at } });
  t.deepEqual(said(w.plan(start + 29_000)), []);
  t.deepEqual(said(w.plan(start + 30_000)), ['dispatch scout/objective-1']);
});

test('a changed objective cancels the run that nobody began and queues anew; an unchanged one stays done', (t) => {
  const w = world();
  w.agent({ objectives: [objective('a'), objective('b')] });
  w.carryOut();
  w.carryOut();
  w.end('scout', 'completed');
  const spec = agentSpec({ objectives: [objective('a'), { ...objective('b'), description: 'y' }] });
  w.happen('agent/scout', { type: 'toka.agent.updated.v1', data: { spec, origin: 'file' } });
  t.deepEqual(said(w.plan()), ['queue scout/b', 'cancel scout/b']);
});

test('a paused agent starts nothing, and a removed one has its runs cancelled', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  w.happen('agent/scout', { type: 'toka.agent.paused.v1', data: { reason: 'x' } });
  t.deepEqual(said(w.plan()), []);
  w.happen('agent/scout', { type: 'toka.agent.removed.v1', data: { reason: 'x' } });
  t.deepEqual(said(w.plan()), ['cancel scout/objective-1']);
});

test('a run that takes longer than the workstream timeout fails', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  t.deepEqual(said(w.plan(start + 3_700_000)), ['fail scout/objective-1']);
});

test("the time that a person takes is not the run's", (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  const [{ id } = { id: '' }] = w.board.active.values();
  w.happen(`run/${id}`, { type: 'toka.run.paused.v1', data: { reason: 'x' } });
  const pausedMs = w.nowMs() - 1000;
  t.deepEqual(said(w.plan(start + 36_000_000)), [], 'paused for ten hours');
  const run = w.board.active.get(id);
  t.is(run && heldMsOf(run, pausedMs + 36_000_000), 36_000_000);
  w.happen(`run/${id}`, { type: 'toka.run.resumed.v1', data: { reason: 'x' } });
  t.is(w.board.active.get(id)?.heldMs, 1_000, 'by the times of the events');
  t.deepEqual(said(w.plan(start + 3_602_000)), ['dispatch scout/objective-1'], 'as much later as it was paused');
  t.deepEqual(said(w.plan(start + 3_604_000)), ['fail scout/objective-1']);
});

test('a run that was queued by a clock that is ahead goes at once, and in its place', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  t.deepEqual(said(w.plan(start - 600_000)), ['dispatch scout/objective-1']);
});

test('one that no runner began in time keeps its place', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  w.carryOut();
  const [run] = w.board.active.values();
  const [back] = w.plan(start + 200_000);
  t.is(back?.do, 'put-back');
  t.is(back?.do === 'put-back' ? back.at : undefined, run?.queuedAt);
});

test('a time that waited for the run before is not missed, however long that took', (t) => {
  const w = world();
  w.agent({ schedule: { cron: '*/10 * * * *', missed: 'skip' } });
  const minute = (count: number) => start + count * 60_000 + 5;
  const [first] = w.plan(minute(10));
  if (first?.do !== 'queue') return t.fail('nothing was queued');
  w.do(first);
  t.is(w.plan(minute(25), { workstreamTimeoutS: 1e9 }).filter((action) => action.do === 'queue').length, 0);
  const ended = (minutes: number) => new Date(minute(minutes)).toISOString();
  const timetable = { cron: '*/10 * * * *', timezone: 'UTC', missed: 'skip', overlap: 'queue' } as const;
  const time = ended(20).replace('.005', '.000');
  t.false(isPassedOver(timetable, time, ended(25), minute(25)));
  t.true(isPassedOver(timetable, time, ended(25), minute(29)), 'nobody was there then');
  t.true(isPassedOver(timetable, time, ended(19), minute(25)), 'nothing held it up');
  t.true(isPassedOver({ ...timetable, overlap: 'skip' }, time, ended(25), minute(25)));
});

test('what became of a time is known for as long as another run of it waits', (t) => {
  const w = world();
  w.agent({ schedule: '* * * * *', objectives: [objective('a'), objective('b', ['a'])] });
  const agent = w.board.agents.get('scout');
  const [a, b] = agent ? worksOf(agent.spec) : [];
  if (!agent || !a || !b) return t.fail();
  const queue = (work: typeof a, minute: number) => {
    const occasion = scheduled(agent, work.id, new Date(start + minute * 60_000).toISOString());
    w.do({ do: 'queue', agent, work, occasion });
    return occasion.runId;
  };
  const complete = (runId: string) => w.happen(`run/${runId}`, { type: 'toka.run.completed.v1', data: { result: '' } });
  complete(queue(a, 0));
  const waiting = queue(b, 0);
  for (let minute = 1; minute <= 11_500; minute++) complete(queue(a, minute));
  t.true(w.board.times.size <= 11_000);
  const ready = w
    .plan(start, { workstreamTimeoutS: 1e9 })
    .flatMap((each) => (each.do === 'dispatch' ? [each.run.id] : []));
  t.deepEqual(ready, [waiting]);
});

test('the timers of what has ended or is looked at earlier do not pile up', (t) => {
  const timers = createTimers();
  for (let count = 0; count < 10_000; count++) {
    timers.add('run', String(count), 1e6 + count);
    timers.add('run', String(count), 1e5 + count);
    if (count !== 7) timers.drop('run', String(count));
  }
  t.true(timers.size() < 1_100);
  t.deepEqual([...timers.until(2e6)], [{ kind: 'run', id: '7', atMs: 1e5 + 7 }]);
});

test('after an event that cannot be read the next append comes after it', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  const [{ id } = { id: '' }] = w.board.active.values();
  passOver(w.board, `toka.events.run.${id}`, 99);
  t.is(w.board.active.get(id)?.version, 99);
});

test('default tasks run with their own priority, after the agents that they name', (t) => {
  const w = world();
  w.agent({ name: 'other' });
  w.agent({ tasks: { default: [{ description: 'tidy', priority: 'low', dependencies: ['other'] }] } });
  w.carryOut();
  t.deepEqual(said(w.plan()), ['dispatch other/objective-1', 'dispatch scout/objective-1']);
  w.carryOut();
  w.end('scout', 'completed');
  t.deepEqual(said(w.plan()), []);
  w.end('other', 'completed');
  t.deepEqual(said(w.plan()), ['dispatch scout/task-1']);
});

test('a schedule queues only the latest time that has come, and never two runs at once', (t) => {
  const w = world();
  w.agent({ schedule: '*/10 * * * *' });
  t.deepEqual(said(w.plan(start + 60_000)), []);
  const later = start + 3 * 86_400_000 + 5_000;
  const [first, ...more] = w.plan(later);
  t.deepEqual(more, []);
  if (first?.do !== 'queue') return t.fail('nothing was queued');
  t.is(first.occasion.since, '2026-01-04T00:00:00.000Z');
  w.do(first);
  t.deepEqual(said(w.plan(later + 1_000, { workstreamTimeoutS: 1e9 })), ['dispatch scout/objective-1']);
  t.deepEqual(
    said(w.plan(later + 1_200_000, { workstreamTimeoutS: 1e9 })),
    ['dispatch scout/objective-1'],
    'the next time waits',
  );
});

test('a time that is looked at in its very millisecond has come', (t) => {
  const w = world();
  w.agent({ schedule: '*/10 * * * *' });
  t.deepEqual(said(w.plan(start + 600_000)), ['queue scout/objective-1']);
});

test('an agent that gets a schedule has no more than one run of a work, whatever it did before', (t) => {
  const w = world();
  w.agent();
  w.carryOut();
  w.carryOut();
  w.end('scout', 'completed');
  const spec = agentSpec({ schedule: '*/10 * * * *' });
  w.happen('agent/scout', { type: 'toka.agent.updated.v1', data: { spec, origin: 'file' } });
  for (const minutes of [10, 20, 30]) {
    const [first] = w.plan(start + minutes * 60_000 + 7);
    if (first?.do === 'queue') w.do(first);
  }
  t.is(w.board.active.size, 1);
});

test('works of a time that is made up for depend on those of the same time', (t) => {
  const w = world();
  w.agent({ schedule: '0 6 * * *', objectives: [objective('a'), objective('b', ['a'])] });
  const agent = w.board.agents.get('scout');
  if (!agent) return t.fail();
  const queue = (workId: string, day: number) => {
    const work = worksOf(agent.spec).find(({ id }) => id === workId);
    const occasion = scheduled(agent, workId, `2026-01-0${day}T06:00:00.000Z`);
    if (work) w.do({ do: 'queue', agent, work, occasion });
    return occasion.runId;
  };
  const complete = (runId: string) => w.happen(`run/${runId}`, { type: 'toka.run.completed.v1', data: { result: '' } });
  const [newA, newB] = [queue('a', 9), queue('b', 9)];
  const [oldA, oldB] = [queue('a', 3), queue('b', 3)];
  const now = Date.UTC(2026, 0, 9, 6, 1);
  const ready = () =>
    w.plan(now, { workstreamTimeoutS: 1e9 }).flatMap((action) => (action.do === 'dispatch' ? [action.run.id] : []));
  t.deepEqual(ready(), [newA], 'one at a time');
  complete(newA);
  t.deepEqual(ready(), [newB]);
  complete(newB);
  t.deepEqual(ready(), [oldA]);
  complete(oldA);
  t.deepEqual(ready(), [oldB]);
});

test('the same occasion always names the same run', (t) => {
  const w = world();
  w.agent();
  const agent = w.board.agents.get('scout');
  if (!agent) return t.fail();
  const again = world();
  again.board.agents.set('scout', agent);
  t.deepEqual(occasionOf(agent, 'objective-1', 1), occasionOf(agent, 'objective-1', 2e12));
  t.regex(occasionOf(agent, 'objective-1', 1)?.runId ?? '', /^run_[0-9A-HJKMNP-TV-Z]{26}$/);
  t.is(worksOf(agent.spec).length, 1);
});

const file = (...agents: AgentInput[]) => ({
  settings: {},
  agents: agents.map((agent) => agentSpec(agent)),
  problems: [],
  fatal: false,
});
const changesOf = (changes: ReturnType<typeof rosterChanges>) =>
  changes.map((change) => `${change.do} ${change.do === 'leave' ? change.id : change.spec.name}`);

test('the file registers what is new, updates what changed, and leaves alone what the API made or removed', (t) => {
  const w = world();
  const known = (): Board['agents'] => w.board.agents;
  t.deepEqual(changesOf(rosterChanges(file(agentSpec()), known())), ['register scout']);
  w.agent();
  t.deepEqual(changesOf(rosterChanges(file(agentSpec()), known())), []);
  t.deepEqual(changesOf(rosterChanges(file(agentSpec({ version: '2' })), known())), ['update scout']);
  t.deepEqual(changesOf(rosterChanges(file(), known())), ['leave scout']);
  w.happen('agent/scout', { type: 'toka.agent.removed.v1', data: { reason: 'x' } });
  t.deepEqual(changesOf(rosterChanges(file(agentSpec()), known())), ['leave scout']);
  t.deepEqual(changesOf(rosterChanges(file(agentSpec({ version: '2' })), known())), ['register scout']);
  w.happen('agent/mine', {
    type: 'toka.agent.registered.v1',
    data: { spec: agentSpec({ name: 'mine' }), origin: 'api' },
  });
  t.deepEqual(changesOf(rosterChanges(file(agentSpec({ name: 'mine', version: '3' })), known())), ['leave mine']);
});
