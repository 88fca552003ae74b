import type { z } from 'zod';
import type { Work } from '#shared/contracts/agent.ts';
import * as api from '#shared/contracts/api/new-runs.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Run } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import { adHocWork, definitionOf, worksOf } from '#shared/domain/works.ts';
import type { Writer } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import { refusal } from '../input.ts';
import type { Claim } from '../once.ts';
import { queueRun } from '../queue-run.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';
import { readAgent } from './agents.ts';

/** What an agent is told to do, besides its objectives' own occasions. */
export const agentRunRoutes = (writer: Writer, backlog: Backlog): Route[] => [
  route({
    ...api.startRun,
    async handle({ params: { id }, body, bus, caller, ctx, once }) {
      const agent = await readAgent(bus, id);
      const work = workOf(agent, body);
      using _held = await backlog.hold(caller, agent.spec.workstream, 1);
      const run = await queue(bus, agent, work, { once, runAt: body.runAt }, on(writer, caller));
      ctx.set({ Location: `/runs/${run.id}`, 'Toka-Seq': String(run.version) });
      return runView(run);
    },
  }),
];

type Wanted = { once: Claim | undefined; runAt: string | undefined };

function workOf(agent: Agent, { input, objective }: z.output<typeof api.startRun.body>): Work {
  const works = worksOf(agent.spec);
  const found = works.find(({ id }) => id === objective);
  if (found) return { ...found, dependsOn: [], dependsOnAgents: [] };
  if (input === undefined) {
    const known = works.map(({ id }) => id).join(', ');
    throw refusal([{ field: 'objective', message: `"${objective}" is none of this agent's; it has ${known}` }]);
  }
  return adHocWork('ad-hoc', input, agent.spec.priority);
}

/** The same claim always names the same run. */
async function queue(bus: TenantBus, agent: Agent, work: Work, { once, runAt }: Wanted, writer: Writer): Promise<Run> {
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
