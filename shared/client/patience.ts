const firstMs = 250;
const mostMs = 30_000;

/** How long to wait before the next try, after `failures` of them: longer each time, never the same for all who wait. */
export const backOff = (failures: number): number =>
  Math.min(firstMs * 2 ** Math.min(failures, 20), mostMs) * (0.5 + Math.random() / 2);

/** Waits; throws the signal's reason where that is aborted. */
export const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const end = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', end);
      resolve();
    }, ms);
    signal.addEventListener('abort', end, { once: true });
  });
