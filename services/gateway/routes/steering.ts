import { commandRun } from '#shared/command.ts';
import * as api from '#shared/contracts/api/runs.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { runFromLog } from './read-run.ts';

/** What people say to runs that are under way. */
export const steeringRoutes = (writer: Writer): Route[] => [
  route({
    ...api.sendMessage,
    async handle({ params: { id }, body, bus, caller, ctx }) {
      const { seq } = await commandRun(bus, id, { type: 'message', ...body }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
      return runFromLog(bus, id);
    },
  }),
  ...(['pause', 'resume'] as const).map((type) =>
    route({
      ...(type === 'pause' ? api.pauseRun : api.resumeRun),
      async handle({ params: { id }, body, bus, caller, ctx }) {
        const reason = body?.reason ?? 'asked by the API';
        const { seq } = await commandRun(bus, id, { type, reason }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
        return runFromLog(bus, id);
      },
    }),
  ),
];
