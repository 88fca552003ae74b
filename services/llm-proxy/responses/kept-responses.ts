import type { Redis } from 'ioredis';
import { z } from 'zod';
import { messageOf } from '#shared/errors.ts';
import type { Logger } from '#shared/log.ts';
import type { JsonObject } from '../wires/pivot.ts';
import { parseObject } from '../wires/read.ts';
import { referencesIn, resolveReferences } from './references.ts';

const ttlMs = 86_400_000;
const idCharsMax = 200;
/** A longer one is not kept. In letters. */
const responseCharsMax = 1_000_000;
/** Of one client key. */
const countMax = 1_000;
const bytesMax = 8_000_000;
/** Items of one client key that are found by their ids, and of one response. In bytes without their ids. */
const itemsMax = 10_000;
const itemBytesMax = 2_000_000;
const itemsOfResponseMax = 500;
/** Responses of which each went on with the one before. */
const chainMax = 100;

const Kept = z.object({
  /** The response that it went on with. */
  previous: z.string().optional(),
  /** Undefined: it was too long. */
  input: z.array(z.unknown()).optional(),
  output: z.array(z.unknown()),
});
export type Kept = z.infer<typeof Kept>;

/** Is told of each text that is read, by its letters, before anything is made of it. */
type Grow = (chars: number) => void;
type References = ReturnType<typeof referencesIn>;

/**
 * What clients of OpenAI's responses were answered, kept for a day. Ids in translated answers are ours, so no provider knows what a client
 * means by them later; those of OpenAI's own it does know, but of all our keys alike. A client key finds what it was answered itself and
 * nothing else.
 */
export type KeptResponses = {
  /** The request with what it refers to in its place. What is not kept is still a reference then. Throws what `grow` does. */
  resolve(keyId: string, body: JsonObject, grow: Grow): Promise<JsonObject>;
  /** For the answer to a request as it came and as it was resolved: keeps the response. Undefined where the client wants nothing kept. */
  keeper(keyId: string, asked: JsonObject, resolved: JsonObject): ((response: JsonObject) => void) | undefined;
};

export function createKeptResponses(redis: Redis, logger: Logger): KeptResponses {
  const writing = new Map<string, Set<Promise<unknown>>>();
  const placesOf = (keyId: string, what: 'response' | 'item') => {
    const prefix = `{toka:responses:${keyId}}:${what === 'item' ? 'items:' : ''}`;
    return [`${prefix}texts`, `${prefix}order`] as const;
  };
  const warn = (what: string) => (error: unknown) => logger.warn({ reason: messageOf(error) }, what);

  const textsOf = async (keyId: string, what: 'response' | 'item', ids: readonly string[]) => {
    const unread = warn('what a client key was answered cannot be read');
    const texts = ids.length > 0 ? await redis.hmget(placesOf(keyId, what)[0], ...ids).catch(unread) : [];
    return texts ?? [];
  };
  const read = async (keyId: string, ids: readonly string[], grow: Grow): Promise<Map<string, Kept>> => {
    const texts = await textsOf(keyId, 'response', ids);
    const found = new Map<string, Kept>();
    for (const [at, id] of ids.entries()) {
      const text = texts[at] ?? '';
      grow(text.length);
      const kept = Kept.safeParse(parseObject(text)).data;
      if (kept) found.set(id, kept);
    }
    return found;
  };
  /** With those that the previous response went on with. */
  const readAll = async (keyId: string, { items, previous }: References, grow: Grow): Promise<Map<string, Kept>> => {
    const responses = await textsOf(keyId, 'item', [...items].slice(0, itemsMax));
    const named = responses.filter((response) => response !== null);
    const first = new Set([...named, ...(previous === undefined ? [] : [previous])]);
    const found = await read(keyId, [...first].slice(0, countMax), grow);
    let next = previous === undefined ? undefined : found.get(previous)?.previous;
    for (let count = 1; next !== undefined && !found.has(next) && count < chainMax; count++) {
      for (const [id, kept] of await read(keyId, [next], grow)) found.set(id, kept);
      next = found.get(next)?.previous;
    }
    return found;
  };

  return {
    async resolve(keyId, body, grow) {
      const references = referencesIn(body);
      if (references.items.size === 0 && references.previous === undefined) return body;
      // An answer that this client has just read may still be on its way there.
      await Promise.all(writing.get(keyId) ?? []);
      return resolveReferences(body, await readAll(keyId, references, grow));
    },
    keeper(keyId, asked, resolved) {
      if (asked.store === false) return undefined;
      const previous = typeof asked.previous_response_id === 'string' ? asked.previous_response_id : undefined;
      // Of one that goes on with another, only what is new.
      const { input: said = [] } = previous === undefined ? resolved : asked;
      const input = typeof said === 'string' ? [{ role: 'user', content: said }] : said;
      return ({ id, output }) => {
        const whole = JSON.stringify({ ...(previous === undefined ? {} : { previous }), input, output });
        // Clients that send all that was said refer to nothing but answers.
        const text = whole.length > responseCharsMax ? JSON.stringify({ output }) : whole;
        if (!isId(id) || !id.startsWith('resp_') || !Array.isArray(output) || text.length > responseCharsMax) return;
        const places = output.flatMap((item) => (isId(item?.id) ? [item.id, id] : [])).slice(0, 2 * itemsOfResponseMax);
        const kept = Promise.all([
          redis.keepTexts(...placesOf(keyId, 'response'), ttlMs, countMax, bytesMax, id, text),
          places.length > 0 && redis.keepTexts(...placesOf(keyId, 'item'), ttlMs, itemsMax, itemBytesMax, ...places),
        ]).catch(warn('what a client key was answered is not kept'));
        const others = writing.get(keyId) ?? new Set();
        writing.set(keyId, others.add(kept));
        void kept.finally(() => {
          others.delete(kept);
          if (others.size === 0) writing.delete(keyId);
        });
      };
    },
  };
}

/** As all of them are: a short word for the kind, and what is its own. */
const isId = (id: unknown): id is string => typeof id === 'string' && id.length <= idCharsMax && id.includes('_');
