import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { commandRun } from '#shared/command.ts';
import { AgentId, Priority, RunId } from '#shared/contracts/ids.ts';
import { EventView, listEvents, listRuns, listSteps, RunView, StepView } from '#shared/contracts/store.ts';
import { runStatuses } from '#shared/domain/run.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import { reasonBody, Time } from '../input.ts';
import { historyQuery, pageOf, pageQuery, seqQuery } from '../paging.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { artifactRoutes } from './artifacts.ts';
import { readRun, runFromLog } from './read-run.ts';
import { steeringRoutes } from './steering.ts';

const params = z.object({ id: RunId });

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
        domain: z.string().max(100).optional(),
        priority: Priority.optional(),
        since: Time.optional().describe('Queued at that time or later'),
        until: Time.optional().describe('Queued before that time'),
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
        return runFromLog(bus, id);
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
    ...steeringRoutes(bus, writer),
    ...artifactRoutes(bus),
  ];
}
