import type { z } from 'zod';
import { foldAgent, foldRun } from '#shared/command.ts';
import { forkRun } from '#shared/contracts/api/new-runs.ts';
import { getRunState } from '#shared/contracts/api/runs.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import type { ChatMessage } from '#shared/contracts/llm.ts';
import type { Agent } from '#shared/domain/agent.ts';
import type { Said } from '#shared/domain/conversation.ts';
import { forkOf } from '#shared/domain/fork.ts';
import type { Run } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import { definitionOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { newId, runIdFor } from '#shared/ids.ts';
import { checkForkable, conversationOf, eventsUntil } from '#shared/whole-event.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import type { Claim } from '../once.ts';
import { checkRegistered, queueRun } from '../queue-run.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';

/** As the contract has it. */
const withoutOrigin = ({ from: _, ...message }: Said): ChatMessage => message;

/** Runs as they stood, and what goes on from there. */
export const historyRoutes = (writer: Writer, backlog: Backlog): Route[] => [
  route({
    ...getRunState,
    async handle({ params: { id }, query, bus }) {
      const events = await eventsUntil(bus, id, query.at ?? Number.MAX_SAFE_INTEGER);
      const run = folded(foldRun(events));
      return { at: run.version, run: runView(run), messages: (await conversationOf(bus, events)).map(withoutOrigin) };
    },
  }),
  route({
    ...forkRun,
    async handle({ params: { id }, body, bus, caller, ctx, once }) {
      const events = await eventsUntil(bus, id, body?.at ?? Number.MAX_SAFE_INTEGER);
      const before = folded(foldRun(events));
      checkRegistered(folded(foldRun(await bus.read('run', id))));
      const agent = await agentOf(bus, before);
      await checkForkable(bus, events, forkOf(before, body?.message).state);
      using _held = await backlog.hold(caller, agent.spec.workstream, 1);
      const run = await fork({ bus, before, agent }, body, once, on(writer, caller));
      ctx.set({ Location: `/runs/${run.id}`, 'Toka-Seq': String(run.version) });
      return runView(run);
    },
  }),
];

/** Events that begin with a run's first fold to a run. */
function folded(run: Run | undefined): Run {
  if (!run) throw new Failure('internal', 'events of a run made none');
  return run;
}

/** The agent whose run is forked, where that can go on. */
async function agentOf(bus: TenantBus, before: Run): Promise<Agent> {
  const agent = foldAgent(await bus.read('agent', before.agentId));
  if (!agent || agent.status === 'removed')
    throw new Failure('conflict', `its agent "${before.agentId}" was removed; make it anew`);
  const { repository, branch } = before.definition;
  if (before.workspace && (agent.spec.repository !== repository || agent.spec.branch !== branch))
    throw new Failure('conflict', "its workspace is of a repository or branch that is no longer the agent's");
  return agent;
}

/** What the agent may do and where it works is as it is now: a fork brings back no rights that were taken since. */
async function fork(
  { bus, before, agent }: { bus: TenantBus; before: Run; agent: Agent },
  asked: z.output<typeof forkRun.body>,
  once: Claim | undefined,
  writer: Writer,
): Promise<Run> {
  const id = once ? runIdFor(once.at, 'once', once.id) : newId('run');
  const data: DataOf<'toka.run.queued.v1'> = {
    ...{ agentId: before.agentId, trigger: 'api', since: id, parent: null },
    definition: { ...definitionOf(agent.spec), ...asked?.overrides },
    work: { ...before.work, dependsOn: [], dependsOnAgents: [] },
    forkOf: forkOf(before, asked?.message),
  };
  const { run, isNew } = await queueRun(bus, id, data, writer);
  const forked = { type: 'toka.run.forked.v1', data: { runId: id, at: before.version } } as const;
  if (isNew) await bus.append(newEvent(forked, `run/${before.id}`, writer, { correlationid: before.id }));
  return run;
}
