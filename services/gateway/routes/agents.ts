import { z } from 'zod';
import { parseAgent } from '#shared/agents-file.ts';
import type { Bus } from '#shared/bus/bus.ts';
import { commandAgent, foldAgent, foldRun } from '#shared/command.ts';
import type { Work } from '#shared/contracts/agent.ts';
import { AgentSpec } from '#shared/contracts/agent.ts';
import { AgentId, Priority } from '#shared/contracts/ids.ts';
import { AgentView, listAgents, RunView } from '#shared/contracts/store.ts';
import type { Agent, AgentCommand } from '#shared/domain/agent.ts';
import { agentView, runView } from '#shared/domain/views.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import type { Caller } from '../auth.ts';
import { pageOf, pageQuery } from '../paging.ts';
import type { Body, Call, Route } from '../route.ts';
import { bodyOf, refusal, route } from '../route.ts';

const params = z.object({ id: AgentId });
const Reason = z.strictObject({ reason: z.string().min(1).max(500).optional() }).optional();

/** Checked as config/agents.toml is. */
const agentBody: Body<AgentSpec> = {
  schema: AgentSpec,
  read(value) {
    const { spec, problems } = parseAgent(value);
    if (spec) return spec;
    throw refusal(problems.map(({ path, message }) => ({ field: path.join('.') || 'the body', message })));
  },
};

const RunRequest = z.strictObject({
  /** What the agent is to do, once, as a task of its own. */
  input: z.string().trim().min(1, 'must not be empty').max(20_000).optional(),
  /** The id of an objective that is to be worked on anew. */
  objective: z.string().max(63).optional(),
});
const runBody = bodyOf(
  RunRequest.refine(({ input, objective }) => (input === undefined) !== (objective === undefined), {
    message: 'must have either "input" or "objective"',
  }),
);

/** Agents: their lives, and what they are told to do. */
export function agentRoutes(bus: Bus, writer: Writer): Route[] {
  const on = ({ sub }: Caller): Writer => ({ ...writer, actor: `user:${sub}` });
  const command = async (
    { caller, ctx }: Pick<Call<never, never, never>, 'caller' | 'ctx'>,
    id: string,
    what: AgentCommand,
  ) => {
    const { seq } = await commandAgent(bus, id, what, on(caller));
    ctx.set('Toka-Seq', String(seq));
    return readAgent(bus, id);
  };
  const life = (what: 'pause' | 'resume', summary: string) =>
    route({
      method: 'post',
      path: `/agents/:id/${what}`,
      scope: 'agents:write',
      summary,
      params,
      body: bodyOf(Reason),
      answer: AgentView,
      async handle(call) {
        const reason = call.body?.reason ?? 'asked by the API';
        return agentView(await command(call, call.params.id, { type: what, reason }));
      },
    });
  return [
    route({
      method: 'get',
      path: '/agents',
      scope: 'agents:read',
      summary: 'List agents by name',
      query: pageQuery.extend({
        workstream: z.string().max(100).optional(),
        domain: z.string().max(100).optional(),
        priority: Priority.optional(),
      }),
      answer: pageOf(AgentView),
      handle: ({ query }) => bus.ask(listAgents, query),
    }),
    route({
      method: 'post',
      path: '/agents',
      scope: 'agents:write',
      summary: 'Create an agent',
      body: agentBody,
      status: 201,
      answer: AgentView,
      async handle(call) {
        const agent = await command(call, call.body.name, { type: 'register', spec: call.body, origin: 'api' });
        call.ctx.set('Location', `/agents/${agent.id}`).set('ETag', `"${agent.version}"`);
        return agentView(agent);
      },
    }),
    route({
      method: 'get',
      path: '/agents/:id',
      scope: 'agents:read',
      summary: 'Read an agent',
      params,
      answer: AgentView,
      async handle({ params: { id }, ctx }) {
        const agent = await readAgent(bus, id);
        ctx.set('ETag', `"${agent.version}"`);
        return agentView(agent);
      },
    }),
    route({
      method: 'put',
      path: '/agents/:id',
      scope: 'agents:write',
      summary: 'Replace an agent; with If-Match only if it is still at that version',
      params,
      body: agentBody,
      answer: AgentView,
      async handle(call) {
        const version = versionOf(call.ctx.get('if-match'));
        const agent = await command(call, call.params.id, { type: 'update', spec: call.body, origin: 'api', version });
        call.ctx.set('ETag', `"${agent.version}"`);
        return agentView(agent);
      },
    }),
    route({
      method: 'delete',
      path: '/agents/:id',
      scope: 'agents:write',
      summary: 'Remove an agent; its runs and events stay',
      params,
      status: 204,
      answer: null,
      async handle({ params: { id }, caller, ctx }) {
        const { seq } = await commandAgent(bus, id, { type: 'remove', reason: 'asked by the API' }, on(caller));
        ctx.set('Toka-Seq', String(seq));
      },
    }),
    life('pause', 'Pause an agent: nothing new is started'),
    life('resume', 'Let a paused agent go on'),
    route({
      method: 'post',
      path: '/agents/:id/runs',
      scope: 'runs:write',
      summary: 'Queue a run; with Idempotency-Key once for each key',
      params,
      body: runBody,
      status: 202,
      answer: RunView,
      async handle({ params: { id }, body, caller, ctx }) {
        const agent = await readAgent(bus, id);
        const key = keyOf(ctx.get('idempotency-key'));
        const run = await queueRun(bus, agent, workOf(agent, body), key, on(caller));
        ctx.set('Location', `/runs/${run.id}`).set('Toka-Seq', String(run.version));
        return runView(run);
      },
    }),
  ];
}

/** An agent straight from the log, so that one reads what one has just written. */
async function readAgent(bus: Bus, id: string): Promise<Agent> {
  const agent = foldAgent(await bus.read('agent', id));
  if (!agent || agent.status === 'removed') throw new Failure('not-found', `there is no agent "${id}"`);
  return agent;
}

function versionOf(ifMatch: string): number | undefined {
  if (ifMatch === '' || ifMatch === '*') return undefined;
  const version = /^"(\d{1,15})"$/.exec(ifMatch)?.[1];
  if (version === undefined)
    throw refusal([{ field: 'If-Match', message: 'must be an ETag that GET gave, such as "17" in quotes' }]);
  return Number(version);
}

function keyOf(key: string): string | undefined {
  if (key === '') return undefined;
  if (!/^[\x21-\x7e]{1,200}$/.test(key))
    throw refusal([{ field: 'Idempotency-Key', message: 'must be 1 to 200 visible characters' }]);
  return key;
}

function workOf(agent: Agent, { input, objective }: z.output<typeof RunRequest>): Work {
  const works = worksOf(agent.spec);
  const found = works.find(({ id }) => id === objective);
  if (found) return { ...found, dependsOn: [], dependsOnAgents: [] };
  if (input === undefined) {
    const known = works.map(({ id }) => id).join(', ');
    throw refusal([{ field: 'objective', message: `"${objective}" is none of this agent's; it has ${known}` }]);
  }
  const { priority } = agent.spec;
  return {
    id: 'ad-hoc',
    kind: 'ad-hoc',
    description: input,
    deliverable: null,
    validation: null,
    dependsOn: [],
    dependsOnAgents: [],
    priority,
  };
}

/** The same key always names the same run, so whoever asks twice finds what the first asked for. */
async function queueRun(bus: Bus, agent: Agent, work: Work, key: string | undefined, writer: Writer) {
  const id = key === undefined ? newId('run') : runIdFor(agent.registeredAt, agent.id, 'idempotency-key', key);
  const data = {
    agentId: agent.id,
    trigger: 'api',
    since: key ?? id,
    definition: definitionOf(agent.spec),
    work,
  } as const;
  const event = newEvent({ type: 'toka.run.queued.v1', data }, `run/${id}`, writer, { correlationid: id });
  await bus.append(event, 0).catch((error) => {
    if (!(error instanceof Failure && error.code === 'conflict')) throw error;
  });
  const run = foldRun(await bus.read('run', id));
  if (!run) throw new Failure('internal', `run ${id} was queued and cannot be read`);
  if (run.work.id !== work.id || run.work.description !== work.description)
    throw new Failure('conflict', 'this Idempotency-Key was used for another run; use a new one');
  return run;
}
