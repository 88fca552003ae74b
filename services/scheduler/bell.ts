/** Wakes one who waits. */
export type Bell = {
  ring(): void;
  /** Resolves when it rings, or has rung since the last time, or after `ms`. */
  wait(ms: number): Promise<void>;
};

export function createBell(): Bell {
  let rung = false;
  let wake = () => {};
  return {
    ring() {
      rung = true;
      wake();
    },
    async wait(ms) {
      if (!rung) {
        const { promise, resolve } = Promise.withResolvers<void>();
        const timer = setTimeout(resolve, ms);
        wake = resolve;
        await promise;
        clearTimeout(timer);
      }
      rung = false;
    },
  };
}
