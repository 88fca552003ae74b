import type { Redis } from 'ioredis';
import { z } from 'zod';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Cached } from './entry.ts';
import { canKeep, decodeEntry, encodeEntry, storedBytesMax } from './entry.ts';

const prefix = '{toka:cache}:';
const index = [`${prefix}used`, `${prefix}due`, `${prefix}clock`] as const;
const [used, , clock] = index;
const lockOf = (key: string) => `${prefix}${key}:lock`;

/** How long a lock outlives a holder that is gone. */
export const lockMs = 3_000;
const pauseMs = 1_000;
const batchMax = 500;
const never = Number.MAX_SAFE_INTEGER;

const Reply = z.tuple([z.instanceof(Buffer).nullable(), z.number(), z.number()]);

/** What Redis says of a key: an entry, the lock is ours, the lock is another's, or Redis says nothing. */
export type Seen = { state: 'found'; entry: Cached; leftMs: number } | { state: 'ours' | 'theirs' | 'away' };

/** The answers in Redis, and the locks of those that are being made. Nothing here throws: Redis comes and goes. */
export type Store = {
  /** Looks for an entry that was stored at `afterMs` or later, and takes its lock where there is none. */
  seek(key: string, afterMs: number, token: string): Promise<Seen>;
  /** Writes an entry, and frees the lock that `token` holds. */
  keep(key: string, entry: Cached, token: string): Promise<void>;
  free(key: string, token: string): Promise<void>;
  /** Renews locks, given as token and key. */
  hold(locks: ReadonlyMap<string, string>): Promise<void>;
  /** Says that these entries were used. */
  touch(keys: Iterable<string>): Promise<void>;
};

/** Opens nothing: `redis` is the caller's. */
export function createStore(redis: Redis, size: number, ttlMs: number, logger: Logger): Store {
  const ask = createAsk(logger);
  const seek = async (key: string, afterMs: number, token: string): Promise<Seen> => {
    const entryKey = prefix + key;
    const reply = await ask(async () =>
      Reply.parse(
        await redis.seekAnswerBuffer(entryKey, ...index, lockOf(key), key, afterMs, token, lockMs, storedBytesMax),
      ),
    );
    if (!reply) return { state: 'away' };
    const [stored, number, ours] = reply;
    const entry = stored ? decodeEntry(stored) : undefined;
    if (entry) return { state: 'found', entry, leftMs: number };
    if (stored || number === 1) logger.warn({ key }, 'the response cache held something that is no answer');
    if (stored) return seek(key, never, token);
    return { state: ours === 1 ? 'ours' : 'theirs' };
  };
  const free = async (key: string, token: string) => {
    await ask(() => redis.freeAnswer(lockOf(key), token));
  };
  return {
    seek,
    free,
    async keep(key, entry, token) {
      if (!canKeep(entry)) return free(key, token);
      const value = encodeEntry(entry);
      await ask(() => redis.keepAnswer(prefix + key, ...index, lockOf(key), key, value, ttlMs, size, prefix, token));
    },
    async hold(locks) {
      for (const batch of batches(locks)) {
        const args = [...batch.map(([, key]) => lockOf(key)), lockMs, ...batch.map(([token]) => token)];
        await ask(() => redis.holdAnswers(batch.length, ...args));
      }
    },
    async touch(keys) {
      for (const batch of batches(keys)) await ask(() => redis.touchAnswers(used, clock, ...batch));
    },
  };
}

function batches<T>(items: Iterable<T>): T[][] {
  const all = [...items];
  return Array.from({ length: Math.ceil(all.length / batchMax) }, (_, at) =>
    all.slice(at * batchMax, (at + 1) * batchMax),
  );
}

/** Asks Redis, and answers undefined where it fails; it is then left alone for a second, so that a hung one holds few up. */
function createAsk(logger: Logger) {
  let pausedUntil = 0;
  let away = false;
  return async <T>(question: () => Promise<T>): Promise<T | undefined> => {
    if (performance.now() < pausedUntil) return undefined;
    try {
      const reply = await question();
      away = false;
      return reply;
    } catch (error) {
      if (!away) logger.warn({ reason: messageOf(error) }, 'the response cache is passed by: Redis does not answer');
      away = true;
      pausedUntil = performance.now() + pauseMs;
      return undefined;
    }
  };
}
