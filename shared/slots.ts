/** Places of which there are only so many: who comes when all are taken waits in turn. */
export type Slots = {
  /** Takes one; answers how to give it back, once. Rejects when `signal` is aborted while waiting. */
  take(signal: AbortSignal): Promise<() => void>;
};

/** `changed` hears how many are taken. */
export function createSlots(max: number, changed: (taken: number) => void = () => undefined): Slots {
  let free = max;
  const waiting = new Set<() => void>();
  const giveBack = () => {
    const [next] = waiting;
    if (next) {
      waiting.delete(next);
      next();
    } else {
      free += 1;
      changed(max - free);
    }
  };
  const once = () => {
    let given = false;
    return () => {
      if (!given) giveBack();
      given = true;
    };
  };
  return {
    async take(signal) {
      signal.throwIfAborted();
      if (free > 0) {
        free -= 1;
        changed(max - free);
        return once();
      }
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const leave = () => {
        if (waiting.delete(resolve)) reject(signal.reason);
      };
      waiting.add(resolve);
      signal.addEventListener('abort', leave, { once: true });
      await promise.finally(() => signal.removeEventListener('abort', leave));
      return once();
    },
  };
}
