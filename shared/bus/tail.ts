import type { Msg, NatsConnection } from 'nats';
import { eventsStream, logSubjectOf } from '#shared/contracts/subjects.ts';
import { getStored } from './stored.ts';

/** A message that the stream has taken, as it told of it. `before`: the sequence of the one before it on its subject. */
export type TailMessage = { seq: number; subject: string; bytes: Uint8Array; before: number };

/** What is new in the stream, as far as it was heard. */
export type Tail = {
  /** The next one; undefined once something may have been missed: then the stream has to be asked, and hearing goes on from there. */
  take(): Promise<TailMessage | undefined>;
  /** Gives the last one back, for something before it is missing. */
  putBack(message: TailMessage): void;
  waiting(): number;
  close(): void;
};

/**
 * What is new on these subjects from now on. What is heard while nobody takes it is bounded by `waitingMax`: beyond, it counts as missed.
 */
export function openTail(
  nc: NatsConnection,
  subjects: readonly string[],
  waitingMax: number,
  signal: AbortSignal,
): Tail {
  let buffer: TailMessage[] = [];
  let isMissed = false;
  let wake = () => {};
  const listener: Listener = {
    hear(message) {
      if (isMissed) return;
      if (buffer.length >= waitingMax) return listener.missed();
      buffer.push(message);
      wake();
    },
    missed() {
      buffer = [];
      isMissed = true;
      wake();
    },
  };
  const leave = listen(nc, subjects, listener);
  const aborted = () => wake();
  signal.addEventListener('abort', aborted);
  return {
    async take() {
      while (buffer.length === 0 && !isMissed && !signal.aborted && !nc.isClosed())
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      wake = () => {};
      const message = signal.aborted ? undefined : buffer.shift();
      if (!message) isMissed = false;
      return message;
    },
    putBack: (message) => void buffer.unshift(message),
    waiting: () => buffer.length,
    close() {
      signal.removeEventListener('abort', aborted);
      leave();
      wake();
    },
  };
}

type Listener = { hear(message: TailMessage): void; missed(): void };
/** One subscription for all who follow the same subjects on a connection. */
type Shared = { listeners: Set<Listener>; close(): void };
const shared = new WeakMap<NatsConnection, Map<string, Shared>>();

function listen(nc: NatsConnection, subjects: readonly string[], listener: Listener): () => void {
  const known = shared.get(nc) ?? new Map<string, Shared>();
  shared.set(nc, known);
  const key = subjects.join(' ');
  const one = known.get(key) ?? subscribe(nc, subjects);
  known.set(key, one);
  one.listeners.add(listener);
  return () => {
    one.listeners.delete(listener);
    if (one.listeners.size > 0) return;
    known.delete(key);
    one.close();
  };
}

/** How long it may be silent before the stream is asked whether it really is. Whole kinds are dear to ask for where they are rare. */
const silenceMs = 2_000;
const silenceMsOfKinds = 30_000;

/**
 * The stream tells of each message that it has taken on a subject of its own (`republish`, nats-server >= 2.8.3), with its sequence: heard
 * as it comes, at most once. Nobody but the server may write there.
 */
function subscribe(nc: NatsConnection, subjects: readonly string[]): Shared {
  const listeners = new Set<Listener>();
  let last = 0;
  const missed = () => {
    for (const each of listeners) each.missed();
  };
  const subscriptions = subjects.map((subject) =>
    nc.subscribe(logSubjectOf(subject), {
      callback(error, msg) {
        const message = error ? undefined : messageOf(msg);
        if (!message) return;
        last = Math.max(last, message.seq);
        for (const each of listeners) each.hear(message);
      },
    }),
  );
  const look = async (subject: string) => {
    const seen = last;
    const found = await getStored(nc, eventsStream, { last_by_subj: subject });
    if (!found || found.seq <= seen || last !== seen) return;
    last = found.seq;
    missed();
  };
  const isKind = subjects.some((subject) => subject.includes('*'));
  const check = setInterval(
    () => {
      for (const subject of subjects) look(subject).catch(() => undefined); // NATS is away: its return is heard of
    },
    isKind ? silenceMsOfKinds : silenceMs,
  );
  check.unref();
  const stopWatching = onReturn(nc, missed);
  return {
    listeners,
    close() {
      clearInterval(check);
      stopWatching();
      if (!nc.isClosed()) for (const each of subscriptions) each.unsubscribe();
    },
  };
}

/** Undefined for what the stream did not send. */
function messageOf(msg: Msg): TailMessage | undefined {
  const { headers } = msg;
  const seq = Number(headers?.get('Nats-Sequence'));
  if (headers?.get('Nats-Stream') !== eventsStream || !Number.isSafeInteger(seq) || seq < 1) return undefined;
  const before = Number(headers.get('Nats-Last-Sequence'));
  return { seq, subject: headers.get('Nats-Subject'), bytes: msg.data, before };
}

const returns = new WeakMap<NatsConnection, Set<() => void>>();

/** Calls `back` each time that the connection is there again, for what came meanwhile was not heard, and when it is closed. */
function onReturn(nc: NatsConnection, back: () => void): () => void {
  const known = returns.get(nc);
  const listeners = known ?? new Set<() => void>();
  if (!known) {
    returns.set(nc, listeners);
    void (async () => {
      for await (const { type } of nc.status()) if (type === 'reconnect') for (const each of listeners) each();
      for (const each of listeners) each();
    })();
  }
  listeners.add(back);
  return () => void listeners.delete(back);
}
