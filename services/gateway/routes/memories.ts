import * as api from '#shared/contracts/api/agents.ts';
import { getMemory, listMemories } from '#shared/contracts/store.ts';
import type { Writer } from '#shared/event.ts';
import { newEvent } from '#shared/event.ts';
import { on } from '../auth.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';

/** What agents keep from run to run, for people to look at and to take away. */
export const memoryRoutes = (writer: Writer): Route[] => [
  route({
    ...api.listMemories,
    handle: ({ bus, params: { id }, query }) => bus.ask(listMemories, { ...query, agentId: id }),
  }),
  route({
    ...api.forgetMemory,
    async handle({ bus, params: { id, memoryId }, caller, ctx }) {
      await bus.ask(getMemory, { agentId: id, id: memoryId });
      const draft = { type: 'toka.memory.forgotten.v1' as const, data: { id: memoryId } };
      const seq = await bus.append(newEvent(draft, `memory/${id}`, on(writer, caller)));
      ctx.set('Toka-Seq', String(seq));
    },
  }),
];
