import type { Redis } from 'ioredis';
import { Failure } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Cached, Make } from './entry.ts';
import { ageOf, entryOf } from './entry.ts';
import type { Caller, Landed } from './find.ts';
import { find, keep } from './find.ts';
import { createFlights } from './flights.ts';
import { createFront } from './front.ts';
import { createStore, lockMs } from './store.ts';
import type { How } from './wants.ts';

/**
 * `hit`: from a stored entry. `coalesced`: from a call that another caller made meanwhile, here or on another replica. `miss`: this
 * caller made the call. `bypass`: it made the call and nothing was read, because it did not want that or Redis is away.
 */
export type Found = Cached & { cache: 'hit' | 'miss' | 'bypass' | 'coalesced'; ageS: number };

export type Answers = {
  /**
   * The answer to a question: a stored one, that of an equal call under way, or a new one. Among equal questions under way `make` is
   * called once, on all replicas. Its signal is aborted only when all who wait have left: it may go on after its own caller has. What
   * it throws, all who wait here get. `signal`: this caller leaves, and gets its reason.
   */
  get(key: string, how: How, make: Make, signal: AbortSignal): Promise<Found>;
  /** What this process has at hand, at once. */
  peek(key: string, how: How): Found | undefined;
  [Symbol.dispose](): void;
};

type Options = {
  /** Answers kept in Redis by all replicas together; the least recently used goes first. */
  size: number;
  ttlS: number;
  /** Bytes that this process keeps. */
  frontBytesMax?: number;
  /** How long this process answers without asking Redis. */
  frontTtlMs?: number;
};

const tickMs = lockMs / 3;
const usedMax = 20_000;

/** Answers to equal questions: in Redis for all replicas, the latest in this process too, and each made once at a time. */
export function createAnswers(redis: Redis, options: Options, logger: Logger, metrics: Metrics): Answers {
  const { size, ttlS, frontBytesMax = 32 * 1_024 * 1_024, frontTtlMs = 5_000 } = options;
  const store = createStore(redis, size, ttlS * 1_000, logger);
  const front = createFront({ size, bytesMax: frontBytesMax, ttlMs: frontTtlMs }, metrics);
  const shared = { store, front, ttlMs: ttlS * 1_000, held: new Map<string, string>() };
  const flights = createFlights<Caller, Landed>();
  let used = new Set<string>();
  const ticking = setInterval(() => {
    if (shared.held.size > 0) void store.hold(shared.held);
    // Redis does not see what the front answers, and would take it for unused.
    if (used.size > 0) void store.touch(used);
    used = new Set();
  }, tickMs).unref();

  const peek = (key: string, how: How): Found | undefined => {
    const entry = how.read ? front.get(key) : undefined;
    if (!entry || entry.storedMs < afterOf(how)) return undefined;
    if (used.size < usedMax) used.add(key);
    return { ...entry, cache: 'hit', ageS: ageOf(entry) };
  };
  const alone = async (key: string, how: How, make: Make, signal: AbortSignal): Promise<Found> => {
    const made = await make(signal);
    const entry = entryOf(made);
    if (how.write && made.keep) await keep(shared, key, entry);
    return { ...entry, cache: 'bypass', ageS: 0 };
  };
  return {
    peek,
    async get(key, how, make, signal) {
      signal.throwIfAborted();
      if (!how.read) return alone(key, how, make, signal);
      const caller = { make, how };
      const afterMs = afterOf(how);
      for (;;) {
        const near = peek(key, how);
        if (near) return near;
        const landed = await flights.join(key, caller, (flight) => find(shared, key, flight, afterMs), signal);
        // Whoever began the flight may have been content with an older entry.
        if (landed.way !== 'stored' || landed.entry.storedMs >= afterMs) return foundBy(caller, landed);
      }
    },
    [Symbol.dispose]() {
      clearInterval(ticking);
      flights.abort(new Failure('unavailable', 'llm-proxy is stopping; ask again', { retryAfterMs: 500 }));
      front[Symbol.dispose]();
    },
  };
}

/** When an entry must have been stored that will do. */
const afterOf = ({ maxAgeS }: How) => (maxAgeS === undefined ? 0 : Date.now() - maxAgeS * 1_000);

function foundBy(caller: Caller, landed: Landed): Found {
  const { body, type, storedMs } = landed.entry;
  return { body, type, storedMs, cache: wordFor(caller, landed), ageS: ageOf(landed.entry) };
}

function wordFor(caller: Caller, landed: Landed): Found['cache'] {
  if (landed.way === 'stored') return 'hit';
  if (landed.way !== 'made' || landed.by !== caller) return 'coalesced';
  return landed.read ? 'miss' : 'bypass';
}
