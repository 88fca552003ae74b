import type { Priority } from '#shared/contracts/ids.ts';
import { Failure } from '#shared/errors.ts';
import type { Lanes } from './lanes.ts';
import { createLanes } from './lanes.ts';

/** What came of trying: what was asked for, or what is in the way, how long it will be, and how to say so. `isHeld`: others give it back soon. */
export type Tried<T> = { got: T } | { blockedBy: string; waitMs: number; refusal: Failure; isHeld?: boolean };

export type Waiter<T> = {
  priority: Priority;
  /** Whose turn it is among those of one priority. */
  turn: string;
  isClient: boolean;
  /** All that may be in its way. */
  needs: readonly string[];
  /** What says how long it waits. */
  setting: string;
  try(): Promise<Tried<T>>;
  /** Gives back what was got too late. */
  release(got: T): void;
};

export type Queue<T> = {
  /**
   * Waits for its turn. Throws `limited` after `waitMs`, `unavailable` where too many wait, the signal's reason, or what `try` threw.
   */
  join(waiter: Waiter<T>, waitMs: number, signal: AbortSignal): Promise<T>;
  count(): number;
  /** What may have been in the way no longer is. */
  free(need: string): void;
};

type Entry<T> = Waiter<T> & {
  isHere: boolean;
  /** Why it could not go on when it was last its turn. */
  refusal: Failure | undefined;
  /** Takes it out of the queue, and tells who waits. */
  end(wasServed: boolean, tell: () => void): void;
  resolve(got: T): void;
  reject(error: unknown): void;
};

const longestMs = 60_000;

/** How many may wait, and how many of these places clients never get. */
type Room = { max: number; agents: number };

/**
 * Who waits goes by priority, then in turns (one call of each agent), then as they came. One that cannot go on yet holds up only
 * those that need the same.
 */
export function createQueue<T>({ max, agents }: Room, onDepth: (depth: number) => void): Queue<T> {
  const clientsMax = max - agents;
  const lanes = createLanes<Entry<T>>();
  const serving = createServing(lanes);
  let clients = 0;
  return {
    join(waiter, waitMs, signal) {
      const { isClient } = waiter;
      const isFull = lanes.count() >= max;
      if (isFull || (isClient && clients >= clientsMax)) {
        const text = isFull
          ? `LLM_QUEUE_MAX is reached: ${max} model calls wait already`
          : `${clientsMax} calls of clients wait already, which is all that LLM_QUEUE_MAX and LLM_AGENTS_SHARE leave to them`;
        return Promise.reject(new Failure('unavailable', text, { retryAfterMs: 1_000 }));
      }
      return new Promise<T>((resolve, reject) => {
        const onAbort = () => entry.end(false, () => reject(signal.reason));
        const entry: Entry<T> = {
          ...waiter,
          ...{ isHere: true, refusal: undefined, resolve, reject },
          end(wasServed, tell) {
            if (!entry.isHere) return;
            entry.isHere = false;
            clearTimeout(late);
            signal.removeEventListener('abort', onAbort);
            lanes.remove(entry, wasServed);
            if (isClient) clients--;
            onDepth(lanes.count());
            tell();
          },
        };
        const late = setTimeout(() => entry.end(false, () => reject(tooLate(entry, waitMs))), waitMs);
        lanes.add(entry);
        if (isClient) clients++;
        onDepth(lanes.count());
        signal.addEventListener('abort', onAbort, { once: true });
        if (signal.aborted) return onAbort();
        void serving.serve();
      });
    },
    count: lanes.count,
    free(need) {
      if (lanes.count() > 0) serving.free(need);
    },
  };
}

/** Lets go on who can, whenever that may have changed. */
function createServing<T>(lanes: Lanes<Entry<T>>) {
  /** What is known not to be there, until when by `performance.now()`, and how to say so. */
  const blocked = new Map<string, { untilMs: number; refusal: Failure }>();
  let isServing = false;
  let isChanged = false;
  /** How often something was freed: what was tried before that tells nothing of now. */
  let freed = 0;
  let timer: NodeJS.Timeout | undefined;

  const obstacleOf = ({ needs }: Entry<T>) => {
    const nowMs = performance.now();
    return needs.map((need) => blocked.get(need)).find((obstacle) => obstacle && obstacle.untilMs > nowMs);
  };
  /** Whether it is worth another look. */
  const serveOne = async (): Promise<boolean> => {
    for (const entry of lanes.inOrder()) {
      const obstacle = obstacleOf(entry);
      if (obstacle) entry.refusal = obstacle.refusal;
      if (!entry.isHere || obstacle) continue;
      const before = freed;
      const tried = await entry.try().catch((error: unknown) => ({ error }));
      if ('blockedBy' in tried) {
        entry.refusal = tried.refusal;
        if (freed !== before) return true;
        blocked.set(tried.blockedBy, { untilMs: performance.now() + tried.waitMs, refusal: tried.refusal });
        continue;
      }
      if ('got' in tried && !entry.isHere) entry.release(tried.got);
      entry.end(true, () => ('got' in tried ? entry.resolve(tried.got) : entry.reject(tried.error)));
      return true;
    }
    return false;
  };
  const serve = async () => {
    isChanged = true;
    if (isServing) return;
    isServing = true;
    clearTimeout(timer);
    while (isChanged) {
      isChanged = false;
      while (lanes.count() > 0 && (await serveOne()));
    }
    isServing = false;
    if (lanes.count() === 0) return blocked.clear();
    // What has passed since it was looked at is looked at again at once.
    const nowMs = performance.now();
    const nextMs = Math.min(longestMs, ...[...blocked.values()].map(({ untilMs }) => untilMs - nowMs));
    for (const [need, { untilMs }] of blocked) if (untilMs <= nowMs) blocked.delete(need);
    timer = setTimeout(() => void serve(), Math.max(1, nextMs));
  };
  return {
    serve,
    free(need: string) {
      freed++;
      blocked.delete(need);
      void serve();
    },
  };
}

function tooLate<T>({ refusal, setting }: Entry<T>, waitMs: number): Failure {
  const what = refusal?.message ?? 'too many model calls wait for their turn';
  const { retryAfterMs = 1_000, shouldRetry } = refusal ?? {};
  return new Failure(
    refusal?.code === 'spent' ? 'spent' : 'limited',
    `${what}; it waited ${waitMs / 1_000} s (${setting})`,
    { cause: refusal, retryAfterMs, shouldRetry },
  );
}
