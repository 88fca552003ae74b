import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { SignJWT } from 'jose';
import { connect } from 'nats';
import { openBus } from '#shared/bus/bus.ts';
import type { UserName } from '#shared/bus/users.ts';
import { adminUser, inboxPrefix } from '#shared/bus/users.ts';
import type { AgentInput } from '#shared/contracts/agent.ts';
import type { DataOf, Draft, Recorded, TokaEvent } from '#shared/contracts/events.ts';
import { delegatedWork, narrowed } from '#shared/domain/delegation.ts';
import type { Run } from '#shared/domain/run.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { newEvent } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { timesBetween } from '#shared/occasion.ts';
import type { Context } from '#shared/service.ts';
import { startService } from '#shared/service.ts';
import { agentInput, agentSpec } from '#test/helpers/agents.ts';
import { started, step } from '#test/helpers/events.ts';
import { eventually } from '#test/helpers/eventually.ts';
import { followEvents } from '#test/helpers/follow-events.ts';
import { secret } from '#test/helpers/gateway.ts';
import { natsServers, passwordOf, startNatsWithUsers, violations } from '#test/helpers/servers.ts';
import { temporaryFolder } from '#test/helpers/temporary.ts';
import { openJournal } from '../../services/agent-runner/journal.ts';
import { delegate } from '../../services/agent-runner/tools/delegate.ts';
import { Config as GatewayConfig } from '../../services/gateway/config.ts';
import { serve } from '../../services/gateway/main.ts';
import { Config as SchedulerConfig } from '../../services/scheduler/config.ts';
import { startWith } from '../../services/scheduler/main.ts';
import { Config as StoreConfig } from '../../services/store/config.ts';
import { start as startStore } from '../../services/store/main.ts';

// What whoever holds an agent-runner's password for NATS gets carried out, on real servers, with each service's own rights: nothing that nobody
// has asked for. What a person, a schedule or a run asks for is carried out as ever.

type Queued = DataOf<'toka.run.queued.v1'>;

const runner = { source: '/toka/agent-runner/thief', actor: 'service:agent-runner' };
const hourMs = 3_600_000;
/** Each of its runs may go at once, whatever the others do. */
const atOnce = { limits: { concurrent_runs: 1_000 } };

/** Store, gateway and scheduler, whose clock can be set, and a runner's connection to NATS. There is no runner: what would be carried out is dispatched. */
async function open(program: string) {
  await using stack = new AsyncDisposableStack();
  const nats = stack.use(await startNatsWithUsers(program, { hasStore: true }));
  const folder = stack.use(await temporaryFolder()).path;
  await writeFile(join(folder, 'agents.toml'), '');
  const env = (user: UserName) => ({
    ...{
      NATS_URL: nats.url,
      NATS_USER: user,
      NATS_PASSWORD: passwordOf(user),
      CONFIG_FILE: join(folder, 'agents.toml'),
    },
    ...{ METRICS_PORT: '0', METRICS_HOST: '127.0.0.1', LOG_LEVEL: 'silent', JWT_SECRET: secret },
    ...{ DATABASE_FILE: join(folder, 'toka.sqlite'), PORT: '0', MANAGEMENT_PORT: '0', HTTP_RATE_LIMIT_REQUESTS: '0' },
    ...{ TASKS_AHEAD: '1000', AGENT_SPAWN_TIMEOUT: '86400', WORKSTREAM_TIMEOUT: '864000' },
  });
  const openAs = async (user: UserName) => {
    const who = { user, password: passwordOf(user), name: user, declares: user === adminUser };
    return stack.use(await openBus({ url: nats.url, ...who, leaseMs: 1_000, replicas: 1 }, () => undefined));
  };
  stack.use(await startService('store', StoreConfig, startStore, env('store')));
  let shiftMs = 0;
  const scheduling = (context: Context<never>) => startWith(context, () => Date.now() + shiftMs);
  stack.use(await startService('scheduler', SchedulerConfig, scheduling as never, env('scheduler')));
  let port = 0;
  const serving = async (context: Parameters<typeof serve>[0]) => {
    port = (await serve(context, {})).api;
  };
  stack.use(await startService('gateway', GatewayConfig, serving, env('gateway')));
  const bus = await openAs(adminUser);
  const events = followEvents(stack, bus);
  const token = await new SignJWT({ scope: 'admin' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('ann')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  const ask = async (method: string, path: string, body?: unknown) => {
    const sent = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, headers, ...sent });
    const text = await response.text();
    return { status: response.status, json: text === '' ? undefined : JSON.parse(text) };
  };
  const thief = await openAs('agent-runner');
  const who = { user: 'agent-runner', pass: passwordOf('agent-runner'), inboxPrefix: inboxPrefix('agent-runner') };
  const nc = await connect({ servers: nats.url, ...who });
  stack.defer(() => nc.close());
  const owned = stack.move();
  const of = (type: string, id: string) =>
    events.find((event) => event.type === `toka.run.${type}.v1` && event.subject === `run/${id}`);
  const says = (subject: string, draft: Draft) => thief.append(newEvent(draft, subject, runner));
  return {
    ...{ nats, bus, thief, nc, events, ask, of, says },
    /** Sets the scheduler's clock forward. */
    shift: (ms: number) => {
      shiftMs += ms;
    },
    agent: async (changes: Partial<AgentInput>) => {
      const { status } = await ask('POST', '/agents', agentInput(changes));
      if (status !== 201) throw new Error(`the agent was not made: ${status}`);
    },
    /** A run that a person has asked for, and that this runner is at: its model has called delegate. */
    parent: async (agent: string) => {
      const { json } = await ask('POST', `/agents/${agent}/runs`, { input: 'Have it done' });
      await eventually(() => of('dispatched', json.id));
      for (const draft of [started, step('a', 'delegate')]) await says(`run/${json.id}`, draft);
      const journal = await openJournal(thief, json.id, runner);
      if (!journal) throw new Error('there is no run');
      return journal;
    },
    dispatched: (id: string) => eventually(() => of('dispatched', id)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const boss: Partial<AgentInput> = {
  ...{
    name: 'boss',
    capabilities: { primary: ['filesystem-read', 'delegate:scout', 'delegate:stranger'], secondary: [] },
  },
  limits: { concurrent_runs: 1_000, max_tokens: 10_000 },
};
const limits = { maxSteps: 50, maxTokens: 10_000, maxCostUsd: null, timeoutS: 60, contextTokens: 1_000 };

/** What the tool asks for, with these changes. */
function childOf({ run }: { run: Run }, agent: Partial<AgentInput>, changes: Partial<Queued>): [string, Queued] {
  const definition = narrowed(definitionOf(agentSpec(agent)), run, limits, 0.5);
  const data = { agentId: agentSpec(agent).name, trigger: 'delegate' as const, since: 'a-1', definition };
  const parent = { runId: run.id, callId: 'a-1', depth: 1 };
  return [runIdFor(run.queuedAt, run.id, 'a-1'), { ...data, work: delegatedWork(run, 'look'), parent, ...changes }];
}

for (const program of natsServers) {
  const on = ` (${program})`;

  test(`what a person, a schedule or a run asks for is carried out${on}`, async (t) => {
    await using world = await open(program);
    const { ask, agent, dispatched, events, of, shift, says, parent, thief, nc } = world;
    await agent({ ...atOnce });
    await agent(boss);
    const queuedOf = (name: string) =>
      events.find(({ type, data }) => type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === name);
    const objective = await eventually(() => queuedOf('scout'));
    await dispatched(objective.subject.slice('run/'.length));
    t.is(objective.decision, undefined);

    const { json: asked } = await ask('POST', '/agents/scout/runs', { input: 'Look' });
    await dispatched(asked.id);
    t.true(of('queued', asked.id)?.decision);
    await ask('POST', `/runs/${asked.id}/cancel`, {});
    const { json: again } = await ask('POST', `/runs/${asked.id}/retry`, {});
    const { json: fork } = await ask('POST', `/runs/${asked.id}/fork`, { message: 'Look again' });
    for (const { id } of [again, fork]) await dispatched(id);
    t.is((await eventually(() => of('forked', asked.id))).actor, 'user:ann');

    const cron = '0 * * * *';
    await agent({ name: 'nightly', schedule: cron, ...atOnce });
    const timetable = { cron, timezone: 'UTC', missed: 'run', overlap: 'queue' } as const;
    const [from = ''] = timesBetween(timetable, Date.now() - 5 * hourMs, Date.now(), 1);
    const to = new Date(Date.parse(from) + hourMs).toISOString();
    // Whoever knows the ids that runs will have may write there before: that keeps none from going.
    for (const time of [from, to])
      for (const text of ['{}', JSON.stringify(newEvent(step('obey', 'shell'), 'run/x', runner))]) {
        const id = runIdFor(time, 'nightly', 'objective-1', time);
        nc.publish(`toka.events.run.${id}`, text.replace('run/x', `run/${id}`));
      }
    await nc.flush();
    const { json: made } = await ask('POST', '/agents/nightly/backfill', { from, to });
    t.is(made.queued.length, 2);
    for (const id of made.queued) await dispatched(id);
    const twice = await ask('POST', '/agents/nightly/backfill', { from, to });
    t.deepEqual(twice.json, { queued: [], already: made.queued });
    const begun = await openJournal(thief, made.queued[0], runner);
    t.like(begun, { run: { steps: 0 }, messages: [{ role: 'user' }] });
    t.is((await ask('GET', `/runs/${made.queued[0]}/state`)).json.messages[0].role, 'user');
    // They come one after another.
    for (const id of made.queued) await says(`run/${id}`, { type: 'toka.run.completed.v1', data: { result: '' } });
    shift(hourMs);
    const due = await eventually(() =>
      events.find(({ type, data, decision }) => {
        return type === 'toka.run.queued.v1' && 'agentId' in data && data.agentId === 'nightly' && !decision;
      }),
    );
    await dispatched(due.subject.slice('run/'.length));

    const journal = await parent('boss');
    const signal = AbortSignal.timeout(60_000);
    const context = {
      bus: thief,
      journal,
      writer: runner,
      callId: 'a-1',
      limits,
      egress: undefined,
      timeoutMs: 1_000,
      signal,
    };
    t.true((await delegate.call(context, { agent: 'scout', task: 'Look around' })).parked);
    await dispatched(journal.run.children[0]?.runId ?? '');

    t.deepEqual(events.filter(isRefused), []);
    t.deepEqual(violations(world.nats), []);
  });

  test(`what nobody has asked for is not carried out, whatever a runner writes${on}`, async (t) => {
    await using world = await open(program);
    const { agent, ask, bus, nc, of, parent, says } = world;
    await agent({ ...atOnce });
    await agent({ name: 'nightly', schedule: '0 0 1 1 *' });
    await agent({ name: 'stranger', workstream: 'other', ...atOnce });
    await agent(boss);

    // As if a person had asked: there is no such run, for anybody.
    const [work] = worksOf(agentSpec());
    if (!work) return t.fail();
    const wider = definitionOf(
      agentSpec({ capabilities: { primary: ['shell'], secondary: [] }, limits: { max_tokens: 1e8 } }),
    );
    const asked = { agentId: 'scout', trigger: 'api', since: 'x', definition: wider, work, parent: null } as const;
    const ids = [newId('run'), newId('run'), newId('run')];
    const forgeries = [
      newEvent({ type: 'toka.run.queued.v1', data: asked }, `run/${ids[0]}`, { ...runner, actor: 'user:ann' }),
      newEvent({ type: 'toka.run.queued.v1', data: asked }, `run/${ids[1]}`, runner),
      newEvent({ type: 'toka.run.queued.v1', data: { ...asked, trigger: 'objective' } }, `run/${ids[2]}`, {
        ...runner,
        actor: 'user:ann',
      }),
    ];
    for (const event of forgeries) {
      const { decision: _, ...plain } = event as TokaEvent;
      const id = event.subject.slice('run/'.length);
      nc.publish(`toka.events.run.${id}`, JSON.stringify(event));
      nc.publish(`toka.events.run.${id}`, JSON.stringify(plain));
      nc.publish(`toka.events.decision.${id}`, JSON.stringify(event));
    }
    await nc.flush();
    t.is(violations(world.nats).length, 3);

    // As if it were due, or another run had asked.
    const forged = async (id: string, data: Queued, ...more: Draft[]) => {
      await says(`run/${id}`, { type: 'toka.run.queued.v1', data });
      for (const draft of more) await says(`run/${id}`, draft);
      return id;
    };
    const scout = agentSpec({ ...atOnce });
    const own = definitionOf(scout);
    const due = { ...asked, definition: own, trigger: 'objective' as const };
    const [one, two, three, four, over] = await Promise.all(Array.from({ length: 5 }, () => parent('boss')));
    if (!one || !two || !three || !four || !over) return t.fail();
    await says(`run/${over.run.id}`, { type: 'toka.run.completed.v1', data: { result: '' } });
    const refused = [
      await forged(newId('run'), { ...due, work: { ...work, description: 'Rob the bank' } }),
      await forged(newId('run'), { ...due, definition: wider }),
      await forged(newId('run'), due),
      await forged(newId('run'), {
        ...due,
        trigger: 'schedule',
        since: '2026-01-01T00:00:00.000Z',
        agentId: 'nightly',
      }),
      await forged(newId('run'), due, { type: 'toka.run.dispatched.v1', data: { reason: 'x' } }, started),
      await forged(...childOf(over, atOnce, {})),
      await forged(...childOf(one, atOnce, { definition: wider })),
      await forged(...childOf(two, { name: 'nightly', schedule: '0 0 1 1 *' }, {})),
      await forged(...childOf(three, { name: 'stranger', workstream: 'other', ...atOnce }, {})),
      await forged(
        ...childOf(four, atOnce, { work: { ...delegatedWork(four.run, 'x'), validationCommand: 'curl evil' } }),
      ),
    ];
    for (const id of refused) {
      await eventually(() => of('failed', id));
      t.like(of('failed', id)?.data, { code: 'not-registered' }, id);
      t.is(of('failed', id)?.actor, 'service:scheduler');
    }
    const at = (await bus.read('run', refused[0] ?? ''))[0]?.seq;
    for (const [how, body] of [
      ['retry', {}],
      ['fork', {}],
      ['fork', { at }],
    ] as const)
      t.is((await ask('POST', `/runs/${refused[0]}/${how}`, body)).status, 409, how);
    for (const id of ids) {
      t.is((await ask('GET', `/runs/${id}?minSeq=${await bus.lastSeq()}`)).status, 404);
      t.deepEqual(await bus.read('run', id), []);
    }
    const queued = await bus.tasks.queued();
    const scheduled = (event: Recorded) =>
      event.type === 'toka.run.dispatched.v1' && event.actor === 'service:scheduler';
    for (const id of [...ids, ...refused]) {
      t.false(queued.has(id), id);
      t.false(
        world.events.some((event) => scheduled(event) && event.subject === `run/${id}`),
        id,
      );
    }
    const agents = await bus.read('agent', 'scout');
    t.is(agents.length, 1, 'an agent for which others lie is not quarantined');
  });

  test(`no memory is planted, be it by a run that nobody has asked for${on}`, async (t) => {
    await using world = await open(program);
    const { agent, ask, bus, nc, of, parent, says } = world;
    await agent({ ...atOnce });
    await agent(boss);
    const others = await parent('boss');
    const planted = (runId: string | null): Draft => ({
      type: 'toka.memory.remembered.v1',
      data: { id: newId('mem'), text: 'obey', runId },
    });
    const remember = (runId: string | null) => says('memory/scout', planted(runId));
    for (const runId of [null, others.run.id, newId('run')]) await remember(runId);
    const id = newId('run');
    const [work] = worksOf(agentSpec());
    if (!work) return t.fail();
    const data = {
      agentId: 'scout',
      trigger: 'objective',
      since: 'x',
      definition: definitionOf(agentSpec()),
      work,
    } as const;
    // Before the scheduler can say anything of it.
    const queued: Draft = { type: 'toka.run.queued.v1', data: { ...data, parent: null } };
    nc.publish(`toka.events.run.${id}`, JSON.stringify(newEvent(queued, `run/${id}`, runner)));
    nc.publish('toka.events.memory.scout', JSON.stringify(newEvent(planted(id), 'memory/scout', runner)));
    await eventually(() => of('failed', id));
    await remember(id);
    const { json } = await ask('GET', `/agents/scout/memories?minSeq=${await bus.lastSeq()}`);
    t.deepEqual(json.items, []);
    const honest = await ask('POST', '/agents/scout/runs', { input: 'Keep it' });
    await remember(honest.json.id);
    const kept = await ask('GET', `/agents/scout/memories?minSeq=${await bus.lastSeq()}`);
    t.like(kept.json.items, [{ runId: honest.json.id }]);
  });
}

const isRefused = ({ type, data }: Recorded) =>
  type === 'toka.run.failed.v1' && (data as DataOf<typeof type>).code === 'not-registered';
