import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { foldRun } from '#shared/command.ts';
import type { Work } from '#shared/contracts/agent.ts';
import { AgentId } from '#shared/contracts/ids.ts';
import { RunView } from '#shared/contracts/store.ts';
import type { Agent } from '#shared/domain/agent.ts';
import { runView } from '#shared/domain/views.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { on } from '../auth.ts';
import { bodyOf, onceHeaders, refusal } from '../input.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { readAgent } from './agents.ts';

const RunRequest = z.strictObject({
  /** What the agent is to do, once, as a task of its own. */
  input: z.string().trim().min(1, 'must not be empty').max(20_000, 'must be at most 20000 characters').optional(),
  /** The id of an objective that is to be worked on anew. */
  objective: z.string().max(63, 'must be at most 63 characters').optional(),
});
const runBody = bodyOf(
  RunRequest.refine(({ input, objective }) => (input === undefined) !== (objective === undefined), {
    message: 'must have either "input" or "objective"',
  }),
);

/** What an agent is told to do, besides its objectives' own occasions. */
export const agentRunRoutes = (bus: Bus, writer: Writer): Route[] => [
  route({
    method: 'post',
    path: '/agents/:id/runs',
    scope: 'runs:write',
    summary: 'Queue a run; with Idempotency-Key once for each key',
    params: z.object({ id: AgentId }),
    headers: onceHeaders,
    body: runBody,
    status: 202,
    answer: RunView,
    async handle({ params: { id }, headers: { 'Idempotency-Key': key }, body, caller, ctx }) {
      const agent = await readAgent(bus, id);
      const run = await queueRun(bus, agent, workOf(agent, body), key, on(writer, caller));
      ctx.set({ Location: `/runs/${run.id}`, 'Toka-Seq': String(run.version) });
      return runView(run);
    },
  }),
];

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

/** The same key always names the same run, so whoever asks twice finds what the first asked for. */
async function queueRun(bus: Bus, agent: Agent, work: Work, key: string | undefined, writer: Writer) {
  const id = key === undefined ? newId('run') : runIdFor(agent.registeredAt, agent.id, 'idempotency-key', key);
  const data = {
    agentId: agent.id,
    trigger: 'api',
    since: key ?? id,
    definition: definitionOf(agent.spec),
    work,
    parent: null,
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
