import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import type { Work } from '#shared/contracts/agent.ts';
import { AgentId } from '#shared/contracts/ids.ts';
import { RunView } from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import type { Writer } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import { bodyOf, refusal } from '../input.ts';
import type { Claim } from '../once.ts';
import { queueRun } from '../queue-run.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { readAgent } from './agents.ts';

const aheadMsMax = 366 * 86_400_000;

const RunRequest = z.strictObject({
  /** What the agent is to do, once, as a task of its own. */
  input: z.string().trim().min(1, 'must not be empty').max(20_000, 'must be at most 20000 characters').optional(),
  /** The id of an objective that is to be worked on anew. */
  objective: z.string().max(63, 'must be at most 63 characters').optional(),
  /** When it may begin; at once where it is not given. */
  runAt: z.iso
    .datetime({ offset: true, message: 'must be a time such as "2026-01-31T06:00:00Z"' })
    .refine((time) => Date.parse(time) < Date.now() + aheadMsMax, 'must be within a year from now')
    .transform((time) => new Date(time).toISOString())
    .optional(),
});
const runBody = bodyOf(
  RunRequest.refine(({ input, objective }) => (input === undefined) !== (objective === undefined), {
    message: 'must have either "input" or "objective"',
  }),
);

/** What an agent is told to do, besides its objectives' own occasions. */
export const agentRunRoutes = (bus: Bus, writer: Writer, backlog: Backlog): Route[] => [
  route({
    method: 'post',
    path: '/agents/:id/runs',
    scope: 'runs:write',
    summary: 'Queue a run, now or for a time to come',
    params: z.object({ id: AgentId }),
    body: runBody,
    status: 202,
    answer: RunView,
    waits: true,
    async handle({ params: { id }, body, caller, ctx, once }) {
      await backlog.check();
      const agent = await readAgent(bus, id);
      const run = await queue(bus, agent, workOf(agent, body), { once, runAt: body.runAt }, on(writer, caller));
      ctx.set({ Location: `/runs/${run.id}`, 'Toka-Seq': String(run.version) });
      return runView(run);
    },
  }),
];

type Wanted = { once: Claim | undefined; runAt: string | undefined };

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
    validationCommand: null,
    dependsOn: [],
    dependsOnAgents: [],
    priority,
  };
}

/** The same claim always names the same run. */
async function queue(bus: Bus, agent: Agent, work: Work, { once, runAt }: Wanted, writer: Writer): Promise<Run> {
  const id = once ? runIdFor(once.at, 'once', once.id) : newId('run');
  const data = {
    agentId: agent.id,
    trigger: 'api',
    since: id,
    definition: definitionOf(agent.spec),
    work,
    parent: null,
    ...(runAt === undefined ? {} : { runAt }),
  } as const;
  return (await queueRun(bus, id, data, writer)).run;
}
