import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { commandRun, foldRun } from '#shared/command.ts';
import { Deliverable } from '#shared/contracts/events.ts';
import { AgentId, RunId } from '#shared/contracts/ids.ts';
import { EventView, getRun, listEvents, listRuns, listSteps, RunView, StepView } from '#shared/contracts/store.ts';
import { runStatuses } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import { Failure } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import { reasonBody } from '../input.ts';
import { historyQuery, pageOf, pageQuery, seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

const params = z.object({ id: RunId });

const mediaType = /^[a-z]+\/[\w.+-]{1,100}(; ?charset=[\w-]{1,40})?$/i;

/** Runs: what agents did, step by step, and what they handed in. */
export function runRoutes(bus: Bus, writer: Writer): Route[] {
  return [
    route({
      method: 'get',
      path: '/runs',
      scope: 'runs:read',
      summary: 'List runs, the newest first',
      query: pageQuery.extend({
        agent: AgentId.optional(),
        status: z.enum(runStatuses).optional(),
        workstream: z.string().max(100).optional(),
      }),
      answer: pageOf(RunView),
      handle: ({ query: { agent, ...query } }) => bus.ask(listRuns, { ...query, agentId: agent }),
    }),
    route({
      method: 'get',
      path: '/runs/:id',
      scope: 'runs:read',
      summary: 'Read a run',
      params,
      query: seqQuery,
      answer: RunView,
      handle: ({ params: { id }, query }) => readRun(bus, id, query.minSeq),
    }),
    route({
      method: 'post',
      path: '/runs/:id/cancel',
      scope: 'runs:write',
      summary: 'Cancel a run',
      params,
      body: reasonBody,
      answer: RunView,
      async handle({ params: { id }, body, caller, ctx }) {
        const reason = body?.reason ?? 'asked by the API';
        const { seq } = await commandRun(bus, id, { type: 'cancel', reason }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
        return fromLog(bus, id);
      },
    }),
    route({
      method: 'get',
      path: '/runs/:id/events',
      scope: 'events:read',
      summary: 'The events of a run, in order',
      params,
      query: historyQuery,
      answer: pageOf(EventView),
      handle: ({ params: { id }, query }) => bus.ask(listEvents, { ...query, subject: `run/${id}` }),
    }),
    route({
      method: 'get',
      path: '/runs/:id/steps',
      scope: 'runs:read',
      summary: 'The steps of a run: each turn of its model, with tokens and cost',
      params,
      query: historyQuery,
      answer: pageOf(StepView),
      handle: ({ params: { id }, query }) => bus.ask(listSteps, { ...query, runId: id }),
    }),
    route({
      method: 'get',
      path: '/runs/:id/artifacts',
      scope: 'runs:read',
      summary: 'What a run handed in',
      params,
      query: seqQuery,
      answer: z.object({ items: z.array(Deliverable) }),
      async handle({ params: { id }, query }) {
        const { deliverable } = await readRun(bus, id, query.minSeq);
        return { items: deliverable ? [deliverable] : [] };
      },
    }),
    route({
      method: 'get',
      path: '/runs/:id/artifacts/:name',
      scope: 'runs:read',
      summary: 'The bytes of what a run handed in',
      params: params.extend({ name: z.string().min(1).max(255) }),
      query: seqQuery,
      answer: { mediaType: 'application/octet-stream' },
      async handle({ params: { id, name }, query, ctx }) {
        const { deliverable } = await readRun(bus, id, query.minSeq);
        if (!deliverable || deliverable.name !== name)
          throw new Failure('not-found', `the run has no artifact ${JSON.stringify(name)}`);
        // An agent made it: a browser must not take it for a page of ours.
        const bytes = await bus.artifacts.get(deliverable.artifact);
        ctx.set('Content-Security-Policy', "default-src 'none'; sandbox");
        ctx.attachment(name);
        ctx.type = mediaType.test(deliverable.mediaType) ? deliverable.mediaType : 'application/octet-stream';
        return bytes;
      },
    }),
  ];
}

/** A run from the archive, or from the log where the archive is not there yet, or is away. */
const readRun = (bus: Bus, id: string, minSeq: number | undefined): Promise<RunView> =>
  bus.ask(getRun, { id, minSeq }).catch((error) => {
    const elsewhere = error instanceof Failure && (error.code === 'not-found' || error.code === 'unavailable');
    if (!elsewhere) throw error;
    return fromLog(bus, id);
  });

async function fromLog(bus: Bus, id: string): Promise<RunView> {
  const run = foldRun(await bus.read('run', id));
  if (!run) throw new Failure('not-found', `there is no run "${id}"`);
  return runView(run);
}
