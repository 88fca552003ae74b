import type { Context } from 'koa';
import { commandAgent, foldAgent } from '#shared/command.ts';
import type { AgentSpec } from '#shared/contracts/agent.ts';
import * as api from '#shared/contracts/api/agents.ts';
import type { AgentView } from '#shared/contracts/store.ts';
import { listAgents } from '#shared/contracts/store.ts';
import type { Agent, AgentCommand } from '#shared/domain/agent.ts';
import { nameTaken } from '#shared/domain/agent.ts';
import { agentView } from '#shared/domain/views.ts';
import { worksOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { graphProblems, parseAgent } from '#shared/parse-agent.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import { refusalAt } from '../input.ts';
import type { CheckPlaces } from '../places.ts';
import type { Call, Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';

function versionIn(tag: string | undefined): number | undefined {
  if (tag === undefined)
    throw new Failure(
      'unconditional',
      'If-Match is missing: send the ETag that GET gave, so that nobody else\'s change is lost, or "*"',
    );
  return tag === '*' ? undefined : Number(tag.slice(1, -1));
}

/** Checked as config/agents.toml is. */
function readSpec(value: unknown): AgentSpec {
  const { spec, problems } = parseAgent(value);
  if (spec) return spec;
  throw refusalAt(problems, 'the body');
}

/** How many works a definition has that the one before had not: each of them gets a run. */
function newWorks(before: AgentSpec, after: AgentSpec): number {
  const known = new Set(worksOf(before).map((work) => JSON.stringify(work)));
  return worksOf(after).filter((work) => !known.has(JSON.stringify(work))).length;
}

/** Agents and their lives. */
export function agentRoutes(writer: Writer, backlog: Backlog, checkPlaces: CheckPlaces): Route[] {
  const command = async (
    { bus, caller, ctx }: Pick<Call<unknown, unknown, unknown, unknown>, 'bus' | 'caller' | 'ctx'>,
    id: string,
    what: AgentCommand,
  ) => {
    const { seq } = await commandAgent(bus, id, what, on(writer, caller));
    ctx.set('Toka-Seq', String(seq));
    return show(await readAgent(bus, id), ctx);
  };
  const life = (declared: typeof api.pauseAgent, what: 'pause' | 'resume') =>
    route({
      ...declared,
      async handle(call) {
        const reason = call.body?.reason ?? 'asked by the API';
        return command(call, call.params.id, { type: what, reason });
      },
    });
  return [
    route({
      ...api.listAgents,
      handle: ({ query, bus }) => bus.ask(listAgents, query),
    }),
    route({
      ...api.createAgent,
      read: readSpec,
      async handle(call) {
        checkPlaces(call.body, call.caller);
        await checkName(call.bus, call.body.name);
        await checkGraph(call.bus, call.body);
        using _held = await backlog.hold(call.caller, call.body.workstream, Math.max(1, worksOf(call.body).length));
        const agent = await command(call, call.body.name, { type: 'register', spec: call.body, origin: 'api' }).catch(
          (error) => {
            // Somebody was first, be it whoever.
            throw error instanceof Failure && error.code === 'conflict' ? nameTaken(call.body.name) : error;
          },
        );
        call.ctx.set('Location', `/agents/${agent.id}`);
        return agent;
      },
    }),
    route({
      ...api.getAgent,
      handle: async ({ params: { id }, bus, ctx }) => show(await readAgent(bus, id), ctx),
    }),
    route({
      ...api.replaceAgent,
      read: readSpec,
      async handle(call) {
        const version = versionIn(call.headers['If-Match']);
        checkPlaces(call.body, call.caller);
        await checkGraph(call.bus, call.body);
        const agent = await readAgent(call.bus, call.params.id);
        using _held = await backlog.hold(call.caller, call.body.workstream, newWorks(agent.spec, call.body));
        return await command(call, call.params.id, { type: 'update', spec: call.body, origin: 'api', version });
      },
    }),
    route({
      ...api.removeAgent,
      async handle({ params: { id }, bus, caller, ctx }) {
        const { seq } = await commandAgent(bus, id, { type: 'remove', reason: 'asked by the API' }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
      },
    }),
    life(api.pauseAgent, 'pause'),
    life(api.resumeAgent, 'resume'),
  ];
}

/** An agent straight from the log, so that one reads what one has just written. */
export async function readAgent(bus: Pick<TenantBus, 'read'>, id: string): Promise<Agent> {
  const agent = foldAgent(await bus.read('agent', id));
  if (!agent || agent.status === 'removed') throw new Failure('not-found', `there is no agent "${id}"`);
  return agent;
}

/**
 * Names are everyone's: one that another workstream has, or had, is refused as one's own is, at once and in the same words. So a caller learns that a
 * name is taken, which it has to, and not by whom.
 */
async function checkName(bus: Pick<TenantBus, 'read' | 'isTaken'>, name: string): Promise<void> {
  const agent = foldAgent(await bus.read('agent', name));
  if (agent ? agent.status !== 'removed' : await bus.isTaken(name)) throw nameTaken(name);
}

const graphAgentsMax = 1_000;

/** Throws `invalid` where an agent would wait for one that there is not, or in a circle, which is shown. */
async function checkGraph(bus: Pick<TenantBus, 'read'>, spec: AgentSpec): Promise<void> {
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
