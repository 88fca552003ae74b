import { createParser } from 'eventsource-parser';
import { streamEvents } from '#shared/contracts/api/events.ts';
import { EventView } from '#shared/contracts/store.ts';
import { Failure, isTransient } from '#shared/errors.ts';
import type { Connection } from './ask.ts';
import { ask } from './ask.ts';
import type { Input } from './call.ts';
import { toRequest } from './call.ts';
import { backOff, sleep } from './patience.ts';

/** A gateway says something every 15 seconds, if only that it is there. */
const defaults = { silenceMsMax: 45_000 };
/** More than an event may have. */
const eventCharsMax = 16 * 1024 ** 2;

export type EventFilter = Omit<Input<typeof streamEvents>, 'Last-Event-ID'>;

export type EventOptions = {
  /** Aborted: the events end. */
  signal?: AbortSignal;
  /** Hears that the stream broke off, why, and when it is taken up again. */
  lost?: (failure: Failure, waitMs: number) => void;
};

/**
 * The events of the log from now on, or after `since`, in order, each once: when the gateway goes away or the connection breaks, it goes on
 * where it was as soon as it can. Throws what no waiting mends, such as `unauthorized`.
 */
export type Events = (filter?: EventFilter, options?: EventOptions) => AsyncGenerator<EventView>;

export const createEvents = (connection: Connection, { silenceMsMax } = defaults): Events =>
  async function* events(filter = {}, { signal = new AbortController().signal, lost } = {}) {
    let last = filter.since === undefined ? undefined : Number(filter.since);
    for (let failures = 0; !signal.aborted; failures++) {
      const here = new AbortController();
      const heard = listenFor(silenceMsMax, here);
      let failure = new Failure('unavailable', 'the gateway has ended the stream');
      try {
        const request = toRequest(streamEvents, last === undefined ? filter : { ...filter, 'Last-Event-ID': last });
        const response = await heard(ask(connection, request, AbortSignal.any([signal, here.signal])));
        last ??= positionIn(response);
        for await (const { id, data } of messages(response, heard)) {
          const seq = Number(id ?? Number.NaN);
          if (!(seq > (last ?? 0))) continue;
          const event = EventView.parse({ ...JSON.parse(data), seq });
          last = seq;
          failures = 0;
          yield event;
        }
      } catch (error) {
        if (signal.aborted) return;
        failure = toFailure(error);
        if (!isTransient(failure)) throw failure;
      } finally {
        here.abort();
      }
      if (signal.aborted) return;
      const waitMs = Math.max(backOff(failures), failure.retryAfterMs ?? 0);
      lost?.(failure, waitMs);
      await sleep(waitMs, signal).catch(() => undefined);
    }
  };

/** Where the stream begins, which is known before anything comes: what happens while it breaks off is not missed. */
function positionIn({ headers }: Response): number | undefined {
  const position = headers.get('Toka-Seq');
  return position === null ? undefined : Number(position);
}

/** Waits for what a gateway says next. Silence ends it: a connection that is gone may not say so. */
function listenFor(msMax: number, here: AbortController) {
  const silent = new Failure('unavailable', `nothing was heard for ${msMax / 1000} s`);
  return <T>(next: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => here.abort(silent), msMax);
    return next.finally(() => clearTimeout(timer));
  };
}

/** The messages of an event stream. */
async function* messages(response: Response, heard: ReturnType<typeof listenFor>) {
  const found: { id?: string | undefined; data: string }[] = [];
  const parser = createParser({
    maxBufferSize: eventCharsMax,
    onEvent: (message) => found.push(message),
    onError({ type }) {
      if (type === 'max-buffer-size-exceeded') throw new Failure('too-large', 'the gateway sends an event without end');
    },
  });
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  while (reader) {
    const { done, value } = await heard(reader.read());
    if (done) return;
    parser.feed(decoder.decode(value, { stream: true }));
    yield* found.splice(0);
  }
}

/** A connection that breaks while it is read throws what the platform has for that. */
function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof TypeError) return new Failure('unavailable', 'the connection broke off', { cause: error });
  throw error;
}
