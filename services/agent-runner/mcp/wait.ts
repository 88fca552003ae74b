import { setTimeout as delay } from 'node:timers/promises';

/** What `work` answers, unless the signal is aborted first: then its reason is thrown. */
export async function before<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    if (signal.aborted) abort();
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** What `work` answers within its time, or else what stands in for it. */
export async function within<T>(ms: number, work: Promise<T>, otherwise: T): Promise<T> {
  const stop = new AbortController();
  try {
    return await Promise.race([work.catch(() => otherwise), delay(ms, otherwise, { signal: stop.signal })]);
  } finally {
    stop.abort();
  }
}
