import type { z } from 'zod';
import { foldAgent, foldRun } from '#shared/command.ts';
import type { Work } from '#shared/contracts/agent.ts';
import { timetableOf } from '#shared/contracts/agent.ts';
import * as api from '#shared/contracts/api/new-runs.ts';
import type { Agent } from '#shared/domain/agent.ts';
import { delegatedWork } from '#shared/domain/delegation.ts';
import type { Run } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import { definitionOf, worksOf } from '#shared/domain/works.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { runIdFor } from '#shared/ids.ts';
import { scheduled, timesBetween } from '#shared/occasion.ts';
import { on } from '../auth.ts';
import type { Backlog } from '../backlog.ts';
import { refusal } from '../input.ts';
import { checkRegistered, queueRun } from '../queue-run.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { TenantBus } from '../tenant-bus.ts';
import { readAgent } from './agents.ts';

/** The ids of runs begin with their time, which counts from 1970 on. */
const firstMs = 86_400_000;

/** Runs that are done once more, and times of a schedule that are made up for. */
export const againRoutes = (writer: Writer, backlog: Backlog): Route[] => [
  route({
    ...api.retryRun,
    async handle({ params: { id }, bus, caller, ctx }) {
      const before = foldRun(await bus.read('run', id));
      if (!before) throw new Failure('not-found', `there is no run "${id}"`);
      const { run } = await retry(bus, before, (workstream) => backlog.hold(caller, workstream, 1), on(writer, caller));
      ctx.set({ Location: `/runs/${run.id}`, 'Toka-Seq': String(run.version) });
      return runView(run);
    },
  }),
  route({
    ...api.backfill,
    async handle({ params: { id }, body, bus, caller }) {
      const agent = await readAgent(bus, id);
      const { works, times } = missed(agent, body);
      // All of them are counted before the first is queued.
      using _held = await backlog.hold(caller, agent.spec.workstream, works.length * times.length);
      return await backfill(bus, agent, { works, times }, on(writer, caller));
    },
  }),
];

type Hold = (workstream: string) => Promise<Disposable>;

async function retry(bus: TenantBus, before: Run, hold: Hold, writer: Writer) {
  if (before.status !== 'failed' && before.status !== 'cancelled')
    throw new Failure('conflict', `the run is ${before.status}: only one that failed or was cancelled is done again`);
  checkRegistered(before);
  const agent = foldAgent(await bus.read('agent', before.agentId));
  if (!agent || agent.status === 'removed')
    throw new Failure('conflict', `its agent "${before.agentId}" was removed; make it anew, or queue a run of another`);
  if (before.trigger === 'objective' && agent.since[before.work.id]?.eventId !== before.since)
    throw new Failure('conflict', `"${before.work.id}" was changed since, and has had a run of its own`);
  // Whoever asked for a delegated run was told of its end: this one is nobody's child.
  const trigger = before.trigger === 'delegate' ? 'api' : before.trigger;
  const id = runIdFor(before.endedAt ?? before.queuedAt, before.agentId, 'retry-of', before.id);
  const data = {
    ...{ agentId: before.agentId, trigger, since: before.since, definition: definitionOf(agent.spec) },
    ...{ work: workOf(before, agent), parent: null, retryOf: before.id },
  };
  using _held = await hold(data.definition.workstream);
  return await queueRun(bus, id, data, writer);
}

/** What a run did, to be done once more. Only what a person had asked for is taken as the run says: of all else, it may never have been so. */
function workOf(before: Run, agent: Agent): Work {
  if (before.trigger === 'api') return before.work;
  if (before.trigger === 'delegate') return delegatedWork(before, before.work.description);
  const work = worksOf(agent.spec).find(({ id, kind }) => id === before.work.id && kind === before.work.kind);
  if (work) return work;
  throw new Failure('conflict', `"${before.work.id}" is none of this agent's works any more`);
}

/** The works of an agent, and the times of its schedule at which each is to be done. */
function missed(agent: Agent, { from, to }: z.output<typeof api.backfill.body>) {
  const timetable = timetableOf(agent.spec);
  if (!timetable) throw new Failure('conflict', `agent "${agent.id}" has no schedule`);
  const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
  if (fromMs > toMs) throw refusal([{ field: 'to', message: 'must not be before "from"' }]);
  if (fromMs < firstMs) throw refusal([{ field: 'from', message: 'must not be before 1970-01-02' }]);
  if (toMs > Date.now()) throw refusal([{ field: 'to', message: 'must not lie in the future' }]);
  const works = worksOf(agent.spec);
  const times = timesBetween(timetable, fromMs, toMs, api.backfillMax + 1);
  if (times.length * works.length > api.backfillMax) {
    const message = `would make more than ${api.backfillMax} runs (one for each of ${works.length} works at each time); ask for a shorter span`;
    throw refusal([{ field: 'to', message }]);
  }
  return { works, times };
}

async function backfill(bus: TenantBus, agent: Agent, { works, times }: ReturnType<typeof missed>, writer: Writer) {
  const queued: string[] = [];
  const already: string[] = [];
  for (const time of times) {
    for (const work of works) {
      const { run, isNew } = await queueTime(bus, agent, work, time, writer);
      (isNew ? queued : already).push(run.id);
    }
  }
  return { queued, already };
}

async function queueTime(bus: TenantBus, agent: Agent, work: Work, time: string, writer: Writer) {
  const { runId, since, trigger } = scheduled(agent, work.id, time);
  const known = foldRun(await bus.read('run', runId));
  if (known) return { run: known, isNew: false };
  const data = { agentId: agent.id, trigger, since, definition: definitionOf(agent.spec), work, parent: null };
  return queueRun(bus, runId, data, writer);
}
