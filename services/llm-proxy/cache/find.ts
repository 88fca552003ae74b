import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from '#shared/errors.ts';
import type { Cached, Make } from './entry.ts';
import { entryOf } from './entry.ts';
import type { Flight } from './flights.ts';
import type { Front } from './front.ts';
import type { Store } from './store.ts';
import type { How } from './wants.ts';

export type Caller = { make: Make; how: How };

/** How an answer came: it lay in Redis, another replica made it meanwhile, or one of the callers here (`read`: with the lock). */
export type Landed = { entry: Cached } & ({ way: 'stored' | 'waited' } | { way: 'made'; by: Caller; read: boolean });

type Shared = {
  store: Store;
  front: Front;
  ttlMs: number;
  /** The locks that are ours, token and key: they must be renewed. */
  held: Map<string, string>;
};

const stepMs = { first: 20, last: 250, factor: 1.5 };

/** Finds the answer for all of a flight, or has it made while the lock keeps other replicas from it. Without Redis it is made at once. */
export async function find(shared: Shared, key: string, flight: Flight<Caller>, afterMs: number): Promise<Landed> {
  const token = randomUUID();
  for (let step = 0, waitMs = stepMs.first; ; step++, waitMs = Math.min(waitMs * stepMs.factor, stepMs.last)) {
    const seen = await shared.store.seek(key, afterMs, token);
    if (seen.state === 'found') {
      shared.front.put(key, seen.entry, seen.leftMs);
      return { entry: seen.entry, way: step === 0 ? 'stored' : 'waited' };
    }
    if (seen.state === 'away') return make(shared, key, flight, undefined);
    if (seen.state === 'ours') return makeWithLock(shared, key, flight, token);
    await pause(waitMs * (0.75 + Math.random() / 2), flight.signal);
  }
}

async function makeWithLock(shared: Shared, key: string, flight: Flight<Caller>, token: string): Promise<Landed> {
  const { store, held } = shared;
  const free = () => void store.free(key, token);
  // Who asks once all have left must not wait for a call that only ends.
  flight.signal.addEventListener('abort', free, { once: true });
  held.set(token, key);
  let kept = false;
  try {
    const landed = await make(shared, key, flight, token);
    kept = landed.kept;
    return landed;
  } finally {
    flight.signal.removeEventListener('abort', free);
    held.delete(token);
    if (!kept) free();
  }
}

async function make(shared: Shared, key: string, flight: Flight<Caller>, token: string | undefined) {
  flight.signal.throwIfAborted();
  // The first may have left before anything was made.
  const [by] = flight.callers;
  if (!by) throw new Failure('internal', 'an answer was to be made for nobody');
  const made = await by.make(flight.signal);
  const entry = entryOf(made);
  const kept = made.keep && (by.how.write || [...flight.callers].some(({ how }) => how.write));
  if (kept) await keep(shared, key, entry, token);
  return { entry, way: 'made' as const, by, read: token !== undefined, kept };
}

/** Keeps an answer for all replicas, and frees the lock that `token` holds. */
export async function keep({ store, front, ttlMs }: Shared, key: string, entry: Cached, token = ''): Promise<void> {
  front.put(key, entry, ttlMs);
  await store.keep(key, entry, token);
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
  signal.throwIfAborted();
}
