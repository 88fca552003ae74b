import { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { AgentId } from '#shared/contracts/ids.ts';
import { EventView, listEvents } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import { Sequence } from '../input.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { Seats } from '../seats.ts';
import { streamEvents } from '../sse.ts';
import { createWanted } from '../wanted.ts';

type EventOptions = { bus: Bus; logger: Logger; seats: Seats; stopping: AbortSignal };

/** The log, live and by sequence. */
export function eventRoutes({ bus, logger, seats, stopping }: EventOptions): Route[] {
  const wanted = createWanted(bus);
  return [
    route({
      method: 'get',
      path: '/events',
      scope: 'events:read',
      summary: 'The live log as Server-Sent Events; it goes on after Last-Event-ID without a gap',
      query: z.strictObject({
        subject: z
          .string()
          .regex(
            /^(agent|run|memory|key|llm|system)\/([A-Za-z0-9_-]{1,100}|\*)$/,
            'must be such as "run/run_01…", or "run/*"',
          )
          .optional(),
        type: z
          .string()
          .regex(
            /^[a-z0-9.-]{1,100}\*?(,[a-z0-9.-]{1,100}\*?){0,19}$/,
            'must be types such as "toka.run.completed.v1", or their beginnings and "*", with commas between',
          )
          .optional(),
        agent: AgentId.optional().describe('Its own events, and those of its runs, memory and model calls'),
        workstream: z.string().min(1).max(100).optional(),
        since: Sequence.optional(),
      }),
      headers: z.object({ 'Last-Event-ID': Sequence.optional() }),
      answer: { mediaType: 'text/event-stream' },
      async handle({ query: { subject, type, since, ...whose }, headers, caller, ctx }) {
        const last = headers['Last-Event-ID'] ?? since ?? (await bus.lastSeq());
        const free = seats.take(caller.sub);
        const expires = AbortSignal.timeout(Math.min(Math.max(caller.expiresMs - Date.now(), 0), 2 ** 31 - 1));
        const filter = { ...whose, types: type?.split(',') };
        const sent = streamEvents(bus, ctx, {
          from: last + 1,
          subject,
          wanted: (event) => wanted(event, filter),
          signal: AbortSignal.any([stopping, expires]),
        });
        void sent
          .then((how) => how === 'stuck' && logger.warn({ sub: caller.sub }, 'an event stream was cut off: not read'))
          .catch((error) => logger.warn({ err: error }, 'an event stream broke'))
          .finally(free);
      },
    }),
    route({
      method: 'get',
      path: '/events/:seq',
      scope: 'events:read',
      summary: 'One event by its sequence',
      params: z.object({ seq: Sequence }),
      answer: EventView,
      async handle({ params: { seq } }) {
        const last = await bus.lastSeq();
        const known = seq >= 1 && seq <= last;
        const { items } = known
          ? await bus.ask(listEvents, { cursor: String(seq - 1), limit: 1, minSeq: seq })
          : { items: [] };
        if (items[0]?.seq !== seq) throw new Failure('not-found', `there is no event ${seq}`);
        return items[0];
      },
    }),
  ];
}
