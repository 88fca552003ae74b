import { commandRun } from '#shared/command.ts';
import * as api from '#shared/contracts/api/runs.ts';
import { listEvents, listRuns, listSteps } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { artifactRoutes } from './artifacts.ts';
import { readRun, runFromLog } from './read-run.ts';
import { steeringRoutes } from './steering.ts';

/** Runs: what agents did, step by step, and what they handed in. */
export function runRoutes(writer: Writer): Route[] {
  return [
    route({
      ...api.listRuns,
      handle: ({ query: { agent, ...query }, bus }) => bus.ask(listRuns, { ...query, agentId: agent }),
    }),
    route({
      ...api.getRun,
      handle: ({ params: { id }, query, bus }) => readRun(bus, id, query.minSeq),
    }),
    route({
      ...api.cancelRun,
      async handle({ params: { id }, body, bus, caller, ctx }) {
        const reason = body?.reason ?? 'asked by the API';
        const { seq } = await commandRun(bus, id, { type: 'cancel', reason }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
        return runFromLog(bus, id);
      },
    }),
    route({
      ...api.listRunEvents,
      handle: ({ params: { id }, query, bus }) => bus.ask(listEvents, { ...query, subject: `run/${id}` }),
    }),
    route({
      ...api.listSteps,
      handle: ({ params: { id }, query, bus }) => bus.ask(listSteps, { ...query, runId: id }),
    }),
    ...steeringRoutes(writer),
    ...artifactRoutes,
  ];
}
