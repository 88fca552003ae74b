import * as api from '#shared/contracts/api/events.ts';
import { listEvents } from '#shared/contracts/store.ts';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Revocations } from '../revocations.ts';
import type { Route } from '../route.ts';
import { route } from '../route.ts';
import type { Seats } from '../seats.ts';
import { streamEvents } from '../sse.ts';
import type { Wanted } from '../wanted.ts';

type EventOptions = {
  wanted: Wanted;
  revocations: Pick<Revocations, 'watch'>;
  logger: Logger;
  seats: Seats;
  stopping: AbortSignal;
};

/** The log, live and by sequence. */
export function eventRoutes({ wanted, revocations, logger, seats, stopping }: EventOptions): Route[] {
  return [
    route({
      ...api.streamEvents,
      async handle({ query: { subject, type, since, ...whose }, headers, bus, caller, ctx }) {
        const last = headers['Last-Event-ID'] ?? since ?? (await bus.lastSeq());
        const free = seats.take(caller.client);
        const expires = AbortSignal.timeout(Math.min(Math.max(caller.expiresMs - Date.now(), 0), 2 ** 31 - 1));
        const token = revocations.watch(caller.tokenId);
        const filter = { ...whose, types: type?.split(',') };
        // Who has had no event yet goes on from here when the stream breaks.
        ctx.set('Toka-Seq', String(last));
        const sent = streamEvents(bus, ctx, {
          from: last + 1,
          subject,
          wanted: (event) => wanted(event, filter),
          signal: AbortSignal.any([stopping, expires, token.signal]),
        });
        void sent
          .then((how) => how === 'stuck' && logger.warn({ sub: caller.sub }, 'an event stream was cut off: not read'))
          .catch((error) => logger.warn({ err: error }, 'an event stream broke'))
          .finally(() => {
            free();
            token[Symbol.dispose]();
          });
      },
    }),
    route({
      ...api.getEvent,
      async handle({ params: { seq }, bus }) {
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
