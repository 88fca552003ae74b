import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { commandRun } from '#shared/command.ts';
import { RunId } from '#shared/contracts/ids.ts';
import { RunView } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import { on } from '../auth.ts';
import { bodyOf, reasonBody } from '../input.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import { runFromLog } from './read-run.ts';

const params = z.object({ id: RunId });
const Message = z.strictObject({
  text: z.string().trim().min(1, 'must not be empty').max(50_000, 'must be at most 50000 characters'),
  mode: z.enum(['enqueue', 'interrupt', 'reject']).default('enqueue'),
});

/** What people say to runs that are under way. */
export const steeringRoutes = (bus: Bus, writer: Writer): Route[] => [
  route({
    method: 'post',
    path: '/runs/:id/messages',
    scope: 'runs:write',
    summary:
      'Send a message to a run: after its present step (enqueue), at once (interrupt), or only if it is not at work (reject)',
    params,
    body: bodyOf(Message),
    status: 202,
    answer: RunView,
    async handle({ params: { id }, body, caller, ctx }) {
      const { seq } = await commandRun(bus, id, { type: 'message', ...body }, on(writer, caller));
      ctx.set('Toka-Seq', String(seq));
      return runFromLog(bus, id);
    },
  }),
  ...(['pause', 'resume'] as const).map((type) =>
    route({
      method: 'post',
      path: `/runs/:id/${type}`,
      scope: 'runs:write',
      summary: type === 'pause' ? 'Pause a run after what it is at; it holds no runner then' : 'Let a paused run go on',
      params,
      body: reasonBody,
      answer: RunView,
      async handle({ params: { id }, body, caller, ctx }) {
        const reason = body?.reason ?? 'asked by the API';
        const { seq } = await commandRun(bus, id, { type, reason }, on(writer, caller));
        ctx.set('Toka-Seq', String(seq));
        return runFromLog(bus, id);
      },
    }),
  ),
];
