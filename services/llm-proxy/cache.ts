import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { ChatRequest } from '#shared/contracts/llm.ts';
import { Answer, Usage } from '#shared/contracts/llm.ts';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';

const prefix = '{toka:cache}:';
const index = [`${prefix}used`, `${prefix}due`, `${prefix}clock`] as const;
const entryCharsMax = 256_000;

const Entry = z.object({ answer: Answer, usage: Usage, model: z.string() });
type Entry = z.infer<typeof Entry>;

/** Answers to equal questions, in Redis, bounded by number (the least recently used goes first) and by age. */
export type Cache = {
  /** Undefined: there is none. Null: Redis is away. */
  read(key: string): Promise<Entry | undefined | null>;
  write(key: string, entry: Entry): Promise<void>;
};

export function createCache(redis: Redis, size: number, ttlSeconds: number, logger: Logger): Cache {
  return {
    async read(key) {
      try {
        const value = await redis.readAnswer(prefix + key, ...index, key);
        return value === null ? undefined : parseEntry(value, logger);
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'the response cache is passed by');
        return null;
      }
    },
    async write(key, entry) {
      const value = JSON.stringify(entry);
      if (value.length > entryCharsMax) return;
      try {
        await redis.writeAnswer(prefix + key, ...index, key, value, ttlSeconds * 1_000, size, prefix);
      } catch (error) {
        logger.warn({ reason: messageOf(error) }, 'an answer was not kept in the response cache');
      }
    },
  };
}

/** What Redis holds may be anyone's: only what is an answer counts. */
function parseEntry(value: string, logger: Logger): Entry | undefined {
  try {
    return Entry.parse(JSON.parse(value));
  } catch {
    logger.warn('the response cache held something that is no answer');
    return undefined;
  }
}

type Place = { provider: string; baseUrl: string; model: string; maxOutputTokens: number };

/** The same for two calls only if nothing that can change their answer differs, and one agent asks. */
export function cacheKey(request: ChatRequest, place: Place): string {
  const { agentId = null, system, messages, tools, toolChoice, temperature = null } = request;
  const question = { version: 1, ...place, agentId, system, messages, tools, toolChoice, temperature };
  return createHash('sha256').update(canonical(question)).digest('hex');
}

/** JSON with every object's fields in one order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
