import type { Context } from 'koa';
import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { commandAgent, foldAgent } from '#shared/command.ts';
import { AgentSpec } from '#shared/contracts/agent.ts';
import { AgentId, Priority } from '#shared/contracts/ids.ts';
import { AgentView, listAgents } from '#shared/contracts/store.ts';
import type { Agent, AgentCommand } from '#shared/domain/agent.ts';
import { agentStatuses } from '#shared/domain/agent.ts';
import { agentView } from '#shared/domain/views.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { graphProblems, parseAgent } from '#shared/parse-agent.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import type { Body } from '../input.ts';
import { reasonBody, refusalAt } from '../input.ts';
import { pageOf, pageQuery, seqQuery } from '../paging.ts';
import type { Call, Route } from '../route.ts';
import { route } from '../route.ts';

const params = z.object({ id: AgentId });
/** An agent's version as GET gave it. */
const IfMatch = z
  .string()
  .regex(/^(\*|"\d{1,15}")$/, 'must be an ETag that GET gave, such as "17" in quotes')
  .optional()
  .describe('The ETag that GET gave: it is replaced only if it is still that one; or "*": whatever it is');

function versionIn(tag: string | undefined): number | undefined {
  if (tag === undefined)
    throw new Failure(
      'unconditional',
      'If-Match is missing: send the ETag that GET gave, so that nobody else\'s change is lost, or "*"',
    );
  return tag === '*' ? undefined : Number(tag.slice(1, -1));
}

/** Checked as config/agents.toml is. */
const agentBody: Body<AgentSpec> = {
  schema: AgentSpec,
  read(value) {
    const { spec, problems } = parseAgent(value);
    if (spec) return spec;
    throw refusalAt(problems, 'the body');
  },
};

/** Agents and their lives. */
export function agentRoutes(bus: Bus, writer: Writer, backlog: Backlog): Route[] {
  const command = async (
    { caller, ctx }: Pick<Call<unknown, unknown, unknown, unknown>, 'caller' | 'ctx'>,
    id: string,
    what: AgentCommand,
  ) => {
    const { seq } = await commandAgent(bus, id, what, on(writer, caller));
    ctx.set('Toka-Seq', String(seq));
    return show(await readAgent(bus, id), ctx);
  };
  const life = (what: 'pause' | 'resume', summary: string) =>
    route({
      method: 'post',
      path: `/agents/:id/${what}`,
      scope: 'agents:write',
      summary,
      params,
      body: reasonBody,
      answer: AgentView,
      async handle(call) {
        const reason = call.body?.reason ?? 'asked by the API';
        return command(call, call.params.id, { type: what, reason });
      },
    });
  return [
    route({
      method: 'get',
      path: '/agents',
      scope: 'agents:read',
      summary: 'List agents by name',
      query: pageQuery.extend({
        status: z.enum(agentStatuses).exclude(['removed']).optional(),
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
        await backlog.check();
        await checkGraph(bus, call.body);
        const agent = await command(call, call.body.name, { type: 'register', spec: call.body, origin: 'api' });
        call.ctx.set('Location', `/agents/${agent.id}`);
        return agent;
      },
    }),
    route({
      method: 'get',
      path: '/agents/:id',
      scope: 'agents:read',
      summary: 'Read an agent',
      params,
      // Read from the log, it holds every write anyway.
      query: seqQuery,
      answer: AgentView,
      handle: async ({ params: { id }, ctx }) => show(await readAgent(bus, id), ctx),
    }),
    route({
      method: 'put',
      path: '/agents/:id',
      scope: 'agents:write',
      summary: 'Replace an agent that is still at the version of If-Match',
      params,
      headers: z.object({ 'If-Match': IfMatch }),
      body: agentBody,
      answer: AgentView,
      async handle(call) {
        const version = versionIn(call.headers['If-Match']);
        await checkGraph(bus, call.body);
        return command(call, call.params.id, { type: 'update', spec: call.body, origin: 'api', version });
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
        const { seq } = await commandAgent(bus, id, { type: 'remove', reason: 'asked by the API' }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
      },
    }),
    life('pause', 'Pause an agent: nothing new is started'),
    life('resume', 'Let a paused agent go on'),
  ];
}

/** An agent straight from the log, so that one reads what one has just written. */
export async function readAgent(bus: Bus, id: string): Promise<Agent> {
  const agent = foldAgent(await bus.read('agent', id));
  if (!agent || agent.status === 'removed') throw new Failure('not-found', `there is no agent "${id}"`);
  return agent;
}

const graphAgentsMax = 1_000;

/** Throws `invalid` where an agent would wait for one that there is not, or in a circle, which is shown. */
async function checkGraph(bus: Bus, spec: AgentSpec): Promise<void> {
  const found = new Map([[spec.name, spec]]);
  const waiting = [...namesIn(spec)];
  for (let name = waiting.pop(); name !== undefined && found.size < graphAgentsMax; name = waiting.pop()) {
    const agent = found.has(name) ? undefined : foldAgent(await bus.read('agent', name));
    if (!agent || agent.status === 'removed') continue;
    found.set(name, agent.spec);
    waiting.push(...namesIn(agent.spec));
  }
  // What others wait for was checked when they came; it may have gone since.
  const own = new Set(namesIn(spec));
  const elsewhere = [...found.values()].flatMap(namesIn).filter((name) => !own.has(name));
  const problems = graphProblems([...found.values()], elsewhere).filter(({ agent }) => agent === spec.name);
  if (problems.length > 0) throw refusalAt(problems, 'the body');
}

const namesIn = ({ depends_on, tasks }: AgentSpec): string[] => [
  ...depends_on,
  ...tasks.default.flatMap(({ dependencies }) => dependencies),
];

function show(agent: Agent, ctx: Context): AgentView {
  ctx.set('ETag', `"${agent.version}"`);
  return agentView(agent);
}
