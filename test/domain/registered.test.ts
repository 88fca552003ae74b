import test from 'ava';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { DataOf, Draft, Recorded } from '#shared/contracts/events.ts';
import { parseEvent } from '#shared/contracts/events.ts';
import { delegatedWork, narrowed } from '#shared/domain/delegation.ts';
import { isSame } from '#shared/domain/same.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { occasionOf, scheduled } from '#shared/occasion.ts';
import { agentSpec } from '#test/helpers/agents.ts';
import { dispatched, started, step } from '#test/helpers/events.ts';
import { planLimits, schedulerLimits } from '#test/helpers/plan.ts';
import { emptyBoard } from '../../services/scheduler/board.ts';
import { createScheduler } from '../../services/scheduler/scheduler.ts';

type Queued = DataOf<'toka.run.queued.v1'>;

const startMs = Date.UTC(2026, 0, 1);
const boss = agentSpec({
  name: 'boss',
  capabilities: { primary: ['filesystem-read', 'delegate:scout', 'delegate:stranger'], secondary: [] },
  network: { allow: ['example.com'] },
  limits: { max_tokens: 1_000, max_cost_usd: 1, timeout: 60 },
});
const scout: Partial<AgentInput> = {
  capabilities: { primary: ['filesystem-read', 'shell'], secondary: [] },
  network: { allow: ['example.com', 'example.org'] },
};

/** A scheduler whose log has three agents and a run of boss that has just called delegate. Events go through JSON, as on NATS. */
function world() {
  const scheduler = createScheduler(emptyBoard(), schedulerLimits());
  const { board } = scheduler;
  let seq = 0;
  const nowMs = () => startMs + seq * 1_000;
  const happen = (subject: string, draft: Draft, actor = 'service:agent-runner') => {
    seq += 1;
    const event = newEvent(draft, subject, { source: '/toka/test/1', actor });
    const written = { ...event, time: new Date(nowMs()).toISOString() };
    scheduler.apply({ ...parseEvent(JSON.parse(JSON.stringify(written))), seq } as Recorded, nowMs());
  };
  const agent = (changes: Partial<AgentInput>, type: 'registered' | 'updated' = 'registered') => {
    const spec = agentSpec(changes);
    happen(`agent/${spec.name}`, { type: `toka.agent.${type}.v1`, data: { spec, origin: 'api' } });
  };
  const queue = (id: string, data: Queued, actor?: string) =>
    happen(`run/${id}`, { type: 'toka.run.queued.v1', data }, actor);
  agent(scout);
  agent({ name: 'nightly', schedule: '0 * * * *' });
  agent({ name: 'stranger', workstream: 'other' });
  agent(boss);
  const parentId = newId('run');
  const [work] = worksOf(boss);
  if (!work) throw new Error('the agent has no work');
  const asked = { agentId: 'boss', trigger: 'api', since: parentId, definition: definitionOf(boss), work } as const;
  queue(parentId, { ...asked, parent: null }, 'user:ann');
  for (const draft of [dispatched, started, step('a', 'delegate')]) happen(`run/${parentId}`, draft);
  return { scheduler, board, happen, agent, queue, parentId, nowMs };
}
type World = ReturnType<typeof world>;

const agentOf = ({ board }: World, name: string) => {
  const agent = board.agents.get(name);
  if (!agent) throw new Error(`there is no agent ${name}`);
  return agent;
};
const runOf = ({ board }: World, id: string) => {
  const run = board.active.get(id);
  if (!run) throw new Error(`there is no run ${id}`);
  return run;
};

type Asked = { id: string; data: Queued };
type Kind = 'objective' | 'schedule' | 'delegate';

/** What the scheduler, or a run that delegates, would write. */
const honest: Record<Kind, (w: World) => Asked> = {
  objective(w) {
    const agent = agentOf(w, 'scout');
    const [work] = worksOf(agent.spec);
    const occasion = work && occasionOf(agent, work.id, w.nowMs());
    if (!occasion) throw new Error('it is not due');
    const { runId: id, since, trigger } = occasion;
    return { id, data: { agentId: 'scout', trigger, since, definition: definitionOf(agent.spec), work, parent: null } };
  },
  schedule(w) {
    const agent = agentOf(w, 'nightly');
    const [work] = worksOf(agent.spec);
    if (!work) throw new Error('it has no work');
    const { runId: id, since, trigger } = scheduled(agent, work.id, '2026-01-01T05:00:00.000Z');
    const definition = definitionOf(agent.spec);
    return { id, data: { agentId: 'nightly', trigger, since, definition, work, parent: null } };
  },
  delegate(w) {
    const parent = runOf(w, w.parentId);
    const definition = narrowed(
      definitionOf(agentOf(w, 'scout').spec),
      parent,
      { maxTokens: 1_000, maxCostUsd: 1 },
      0.5,
    );
    const data = { trigger: 'delegate' as const, since: 'a-1', definition, work: delegatedWork(parent, 'look around') };
    return {
      id: runIdFor(parent.queuedAt, parent.id, 'a-1'),
      data: { agentId: 'scout', ...data, parent: { runId: parent.id, callId: 'a-1', depth: 1 } },
    };
  },
};

test('what is due, and what a run may hand on, is carried out', (t) => {
  for (const kind of ['objective', 'schedule', 'delegate'] as const) {
    const w = world();
    const { id, data } = honest[kind](w);
    w.queue(id, data);
    t.is(w.board.refused.get(id), undefined, kind);
    t.true(w.board.active.has(id));
  }
});

type Forged = {
  about: string;
  kind: Kind;
  change(asked: Asked, w: World): Partial<Asked>;
  why: RegExp;
  before?(w: World): void;
};
const withData = (data: (asked: Queued) => Partial<Queued>) => (asked: Asked) => ({
  data: { ...asked.data, ...data(asked.data) },
});
const wider = (definition: Partial<Queued['definition']>) =>
  withData((data) => ({ definition: { ...data.definition, ...definition } }));
const limits = (changes: Queued['definition']['limits']) =>
  withData((data) => ({ definition: { ...data.definition, limits: { ...data.definition.limits, ...changes } } }));
const otherWork = withData((data) => ({ work: { ...data.work, description: 'rob the bank' } }));
const allToShell = { capabilities: { primary: ['shell', 'filesystem-read'], secondary: [] } };

const forged: readonly Forged[] = [
  ...(['objective', 'schedule'] as const).flatMap((kind): Forged[] => [
    { about: 'a work of its own making', kind, change: otherWork, why: /its work/ },
    {
      about: 'a command that judges it',
      kind,
      change: withData((data) => ({ work: { ...data.work, validationCommand: 'curl evil' } })),
      why: /its work/,
    },
    {
      about: 'another tool',
      kind,
      change: wider({ capabilities: { primary: ['memory'], secondary: [] } }),
      why: /definition/,
    },
    { about: 'other instructions', kind, change: wider({ instructions: 'obey' }), why: /definition/ },
    { about: 'another workstream', kind, change: wider({ workstream: 'other' }), why: /definition/ },
    { about: 'a larger budget', kind, change: limits({ max_tokens: 1e9 }), why: /definition/ },
    { about: 'another id', kind, change: () => ({ id: newId('run') }), why: /no work of its agent is due/ },
    {
      about: 'another agent',
      kind,
      change: withData(() => ({ agentId: 'stranger' })),
      why: /no work of its agent is due/,
    },
    { about: 'nobody', kind, change: withData(() => ({ agentId: 'nobody' })), why: /there is no agent/ },
    {
      about: 'a parent',
      kind,
      change: (asked, w) => ({ data: { ...asked.data, parent: { runId: w.parentId, callId: 'a-1', depth: 1 } } }),
      why: /it has a parent/,
    },
    { about: 'a later begin', kind, change: withData(() => ({ runAt: '2030-01-01T00:00:00Z' })), why: /people alone/ },
    {
      about: 'a run that it does again',
      kind,
      change: withData(() => ({ retryOf: newId('run') })),
      why: /people alone/,
    },
    {
      about: 'what has been queued before',
      kind,
      before(w) {
        const { id, data } = honest[kind](w);
        w.queue(id, data);
        w.happen(`run/${id}`, { type: 'toka.run.completed.v1', data: { result: '' } });
      },
      change: () => ({}),
      why: /no work of its agent is due/,
    },
  ]),
  {
    about: 'a work that was changed',
    kind: 'objective',
    change: (asked) => asked,
    before: (w) => {
      for (const version of ['2', '3', '4', '5']) w.agent({ version }, 'updated');
    },
    why: /./,
  },
  ...['2026-01-01T05:00:01.000Z', '2025-12-31T23:00:00.000Z', '2026-01-03T05:00:00.000Z', 'tomorrow'].map(
    (since): Forged => ({
      about: `the time ${since}`,
      kind: 'schedule',
      change: ({ data }, w) => ({
        id: since === 'tomorrow' ? newId('run') : scheduled(agentOf(w, 'nightly'), data.work.id, since).runId,
        data: { ...data, since },
      }),
      why: /no work of its agent is due/,
    }),
  ),
  {
    about: 'a command that judges it',
    kind: 'delegate',
    change: withData(({ work }) => ({ work: { ...work, validationCommand: 'rm' } })),
    why: /its work/,
  },
  {
    about: 'more urgency',
    kind: 'delegate',
    change: withData(({ work }) => ({ work: { ...work, priority: 'critical' } })),
    why: /its work/,
  },
  { about: 'a tool that its parent lacks', kind: 'delegate', change: wider(allToShell), why: /within that of the run/ },
  {
    about: 'a host that its parent lacks',
    kind: 'delegate',
    change: wider({ network: { allow: ['example.org'] } }),
    why: /within that of the run/,
  },
  {
    about: 'another workstream',
    kind: 'delegate',
    change: wider({ workstream: 'other' }),
    why: /within that of the run/,
  },
  { about: 'more tokens than are left', kind: 'delegate', change: limits({ max_tokens: 990 }), why: /may spend more/ },
  { about: 'more money than is left', kind: 'delegate', change: limits({ max_cost_usd: 0.6 }), why: /may spend more/ },
  { about: 'more time', kind: 'delegate', change: limits({ timeout: 61 }), why: /within that of the run/ },
  {
    about: 'less depth',
    kind: 'delegate',
    change: withData(({ parent }) => ({ parent: parent && { ...parent, depth: 2 } })),
    why: /deep/,
  },
  { about: 'another id', kind: 'delegate', change: () => ({ id: newId('run') }), why: /not at that call/ },
  {
    about: 'another call',
    kind: 'delegate',
    change: withData(({ parent }) => ({ since: 'b', parent: parent && { ...parent, callId: 'b' } })),
    why: /not at that call/,
  },
  {
    about: 'an agent that may not be asked',
    kind: 'delegate',
    change: (_, w) => ({ data: { ...honest.delegate(w).data, agentId: 'nightly' } }),
    why: /may not delegate to "nightly"/,
  },
  {
    about: 'an agent of another workstream',
    kind: 'delegate',
    change: (asked, w) => ({
      data: { ...asked.data, agentId: 'stranger', definition: definitionOf(agentOf(w, 'stranger').spec) },
    }),
    why: /no active agent "stranger"/,
  },
  {
    about: 'a parent that has ended',
    kind: 'delegate',
    change: () => ({}),
    before: (w) => w.happen(`run/${w.parentId}`, { type: 'toka.run.completed.v1', data: { result: '' } }),
    why: /not under way/,
  },
  {
    about: 'a parent that has asked for it before',
    kind: 'delegate',
    change: () => ({}),
    before: (w) =>
      w.happen(`run/${w.parentId}`, {
        type: 'toka.run.delegated.v1',
        data: { callId: 'a-1', runId: newId('run'), agentId: 'scout' },
      }),
    why: /not at that call/,
  },
  {
    about: 'a parent whose person has not agreed',
    kind: 'delegate',
    change: () => ({}),
    before: (w) => {
      const run = runOf(w, w.parentId);
      const definition = { ...run.definition, approvals: { required: ['delegate'], expires: 60 } };
      w.board.active.set(run.id, { ...run, definition });
    },
    why: /no leave/,
  },
];

for (const { about, kind, change, why, before } of forged)
  test(`a ${kind} run is refused, and tells nothing of its work, for ${about}`, (t) => {
    const w = world();
    const asked = honest[kind](w);
    before?.(w);
    const { id, data } = { ...asked, ...change(asked, w) };
    const latest = structuredClone(w.board.latest);
    w.queue(id, data);
    t.regex(w.board.refused.get(id) ?? '', why);
    t.deepEqual(w.board.latest, latest);
    t.is(w.scheduler.share({ workstream: data.definition.workstream, actor: 'service:agent-runner' }).caller, 0);
    const due = w.scheduler.due(w.nowMs(), 100).filter((action) => 'run' in action && action.run.id === id);
    t.like(due, [{ do: 'fail', error: { code: 'not-registered' } }] as never);
    t.is(due.length, 1);
  });

test('a run that a runner says is at work already is ended, too', (t) => {
  const w = world();
  const { id, data } = honest.objective(w);
  w.queue(id, { ...data, work: { ...data.work, description: 'rob the bank' } });
  for (const draft of [dispatched, started]) w.happen(`run/${id}`, draft);
  const due = w.scheduler.due(w.nowMs(), 100).filter((action) => 'run' in action && action.run.id === id);
  t.deepEqual(
    due.map((action) => action.do),
    ['fail'],
  );
});

test('an agent that was changed between a look at it and the queueing of its run does not end the run', (t) => {
  for (const kind of ['objective', 'delegate'] as const) {
    const w = world();
    const { id, data } = honest[kind](w);
    w.agent({ ...scout, version: '2' }, 'updated');
    w.queue(id, data);
    t.is(w.board.refused.get(id), undefined, kind);
    w.agent({ ...scout, version: '3' }, 'updated');
    t.true(w.scheduler.due(w.nowMs(), 100).some((action) => action.do === 'dispatch' && action.run.id === id));
  }
});

test('what a person asks for is carried out as it is, and what is older than the rule', (t) => {
  const w = world();
  const { id, data } = honest.objective(w);
  w.queue(id, { ...data, trigger: 'schedule', retryOf: newId('run'), work: { ...data.work, id: 'other' } }, 'user:ann');
  t.is(w.board.refused.size, 0);
  const old = createScheduler(emptyBoard(), schedulerLimits({ rules: { ...planLimits.rules, since: 1 } }));
  const event = newEvent({ type: 'toka.run.queued.v1', data }, `run/${id}`, {
    source: '/toka/x/1',
    actor: 'service:x',
  });
  old.apply({ ...event, seq: 1 } as Recorded);
  t.is(old.board.refused.size, 0);
});

test('values are the same whatever the order of their fields, and no others are', (t) => {
  t.true(isSame({ a: 1, b: { c: [1, { d: null }] } }, { b: { c: [1, { d: null }] }, a: 1, e: undefined }));
  for (const [a, b] of [
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: 1, b: 2 }, { a: 1 }],
    [
      [1, 2],
      [2, 1],
    ],
    [[1], [1, 2]],
    [[], {}],
    [null, {}],
    ['1', 1],
    [{ a: [] }, { a: null }],
  ])
    t.false(isSame(a, b), JSON.stringify([a, b]));
});
