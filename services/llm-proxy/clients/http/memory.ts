import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Failure } from '#shared/errors.ts';
import type { Metrics } from '#shared/metrics.ts';

/** What a byte of a body takes until its call has ended, if all its letters are of one: itself, its text, what is parsed of that, and what goes out. */
export const bytesPerByte = 4;
/** A connection and its call, however small the body is. */
const callBytes = 32 * 1_024;
/** What a call leaves behind counts from this on: less than that goes young, and V8 collects it as it goes. */
const leftBytesMin = 256 * 1_024;

/** Memory that a call holds. */
export type Held = {
  /** Throws as `take` does. */
  grow(bytes: number): void;
  /** Somebody else needs it, too, until they give it back. */
  share(): void;
  /** Gives it back; of who shares it, the last one does. */
  give(): void;
};

export type Memory = {
  /**
   * Memory for a call of a client key, before any of it is used. Throws `limited` where the key has its share already, `unavailable` where
   * there is none left, `too-large` where there never is so much.
   */
  take(key: string, bytes: number): Held;
};

/**
 * All calls together have `bytesMax`. A key has half of it, or one call that needs more: so one of any size goes through, and what one key
 * sends keeps out no other. What calls have given back takes memory until `collect` frees it, which is done where there is no room beside it.
 */
export function createMemory(bytesMax: number, metrics: Metrics, collect: () => void = collectGarbage): Memory {
  const owned = new Map<string, number>();
  let all = 0;
  let left = 0;
  metrics.llmMemoryMax.set(bytesMax);
  const add = (key: string, bytes: number) => {
    all += bytes;
    metrics.llmMemory.set(all);
    const own = (owned.get(key) ?? 0) + bytes;
    if (own > 0) owned.set(key, own);
    else owned.delete(key);
  };
  const check = (key: string, bytes: number, held: number) => {
    const others = (owned.get(key) ?? 0) - held;
    if (bytes + held > bytesMax)
      throw new Failure(
        'too-large',
        `this request would take ${inMib(bytes + held)} of memory, more than all of LLM_REQUESTS_MEMORY (${inMib(bytesMax)})`,
      );
    if (others > 0 && others + held + bytes > bytesMax / 2)
      throw refuse(
        'key-memory',
        new Failure(
          'limited',
          `requests of this key take ${inMib(others)} of memory, and this one would take ${inMib(held + bytes)}: more than half of LLM_REQUESTS_MEMORY (${inMib(bytesMax)})`,
          { retryAfterMs },
        ),
      );
    if (all + bytes > bytesMax)
      throw refuse(
        'memory',
        new Failure(
          'unavailable',
          `all requests together take ${inMib(all)} of memory, and this one would take ${inMib(held + bytes)}: more than LLM_REQUESTS_MEMORY (${inMib(bytesMax)})`,
          { retryAfterMs },
        ),
      );
  };
  const refuse = (by: 'memory' | 'key-memory', failure: Failure) => {
    metrics.llmSentAway.inc({ by });
    return failure;
  };
  return {
    take(key, bytes) {
      let held = 0;
      let holders = 1;
      const grow = (more: number) => {
        check(key, more, held);
        if (left > 0 && all + left + more > bytesMax) {
          collect();
          left = 0;
        }
        held += more;
        add(key, more);
      };
      grow(callBytes + bytes);
      return {
        grow,
        share: () => void holders++,
        give() {
          if (--holders > 0) return;
          add(key, -held);
          if (held >= leftBytesMin) left += held;
          held = 0;
        },
      };
    },
  };
}

const retryAfterMs = 1_000;

let collector: (() => void) | undefined;

/**
 * V8 begins to mark once 64 MiB of buffers have come, beside the work and in steps: where the processors are busy that takes a second and more,
 * in which other large bodies come (Node 24.21, --trace-gc).
 */
function collectGarbage(): void {
  if (!collector) {
    setFlagsFromString('--expose-gc');
    collector = runInNewContext('gc') as () => void;
  }
  collector();
}

const inMib = (bytes: number) => `${Math.ceil(bytes / 1_048_576)} MiB`;
