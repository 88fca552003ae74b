import type { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import type { ChatRequest, ContextRef } from '#shared/contracts/llm.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import type { Conversation } from './conversation.ts';
import { begin, bytesOf, extend, parse, partsOf, upTo } from './conversation.ts';

const prefix = '{toka:context}:';
const index = [`${prefix}used`, `${prefix}due`, `${prefix}clock`] as const;
/** A conversation that is longer is sent whole each time. */
const conversationBytesMax = 4_000_000;
const frontBytesMax = 32 * 1024 ** 2;

/** A call as the model is to see it. */
export type Resolved = {
  /** With the whole conversation; its context says so (count 0). */
  request: ChatRequest;
  /** Keeps the conversation for the next call: here at once, in Redis when it resolves. Never rejects. */
  remember(): Promise<void>;
};

/** Conversations that go on from call to call, so that a caller sends only what is new. */
export type Contexts = {
  /** Throws `context-missing` where the conversation is not kept as the caller believes, `invalid` where its context makes no sense. */
  resolve(request: ChatRequest): Promise<Resolved>;
};

type Options = {
  /** Conversations kept; the least recently used goes first. */
  size: number;
  /** How long one is kept after its last use, in seconds. */
  ttlS: number;
};

/** Keeps conversations in Redis for all instances, and the last ones here as well; while Redis is away, only here. */
export function openContexts(redis: Redis, { size, ttlS }: Options, logger: Logger, metrics: Metrics): Contexts {
  const front = new LRUCache<string, Conversation>({
    max: size,
    maxSize: frontBytesMax,
    sizeCalculation: bytesOf,
    ttl: ttlS * 1_000,
  });

  const find = async ({ id, count, digest }: ContextRef): Promise<Conversation | undefined> => {
    const here = front.get(id);
    const known = here && upTo(here, count, digest);
    if (known) return known;
    try {
      const parts = await redis.readContext(prefix + id, count + 1, conversationBytesMax);
      return parts === null ? undefined : parse(parts, digest);
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, 'a conversation cannot be read from the context cache');
      return undefined;
    }
  };

  const store = async (id: string, whole: Conversation, from: number, parts: string[]): Promise<void> => {
    const put = (start: number, some: string[]) =>
      redis.keepContext(prefix + id, ...index, id, start, ttlS * 1_000, size, prefix, ...some);
    try {
      if (from > 0 && (await put(from, parts)) === 1) return;
      await put(0, partsOf(whole));
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, 'a conversation was not kept in the context cache');
    }
  };

  return {
    async resolve(request) {
      const { context } = request;
      if (!context) return { request, remember: async () => undefined };
      check(request, context);
      const { id, count, keep } = context;
      const before = count === 0 ? begin(request) : await find(context);
      metrics.llmContext.inc({ result: count === 0 ? 'whole' : before ? 'hit' : 'miss' });
      if (!before) {
        throw new Failure('context-missing', `context: "${id}" is not kept up to message ${count}; send it whole`);
      }
      if (count > 0) metrics.llmContextSaved.inc(bytesOf(before));
      const whole: ChatRequest = {
        ...request,
        ...before.head,
        messages: [...before.messages, ...request.messages],
        context: { id, count: 0, digest: '', keep: count + keep },
      };
      const remember = async () => {
        const { conversation, parts } = extend(before, request.messages.slice(0, keep));
        if (bytesOf(conversation) > conversationBytesMax) return void front.delete(id);
        front.set(id, conversation);
        await store(id, conversation, count === 0 ? 0 : count + 1, parts);
      };
      return { request: whole, remember };
    },
  };
}

function check({ system, tools, messages }: ChatRequest, { count, keep }: ContextRef): void {
  if (keep > messages.length) {
    throw new Failure('invalid', `context.keep: is ${keep}, but there are ${messages.length} messages`);
  }
  if (count > 0 && (system !== '' || tools.length > 0)) {
    throw new Failure('invalid', 'context.count: leave out system and tools, or send the conversation whole with 0');
  }
}
