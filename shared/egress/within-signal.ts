/** Waits for what cannot be stopped no longer than the signal lets it. */
export function withinSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const giveUp = () => reject(signal.reason);
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  return Promise.race([promise, late]).finally(() => signal.removeEventListener('abort', giveUp));
}
