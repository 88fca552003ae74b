/**
 * Tries `check` until it answers something truthy; fails with its last error after `timeoutMs`. That guards against "never" alone, on a machine
 * that is busy with other things, and is well below the 3 minutes after which ava would end the test without a word of what it waits for.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  timeoutMs = 60_000,
): Promise<Exclude<NonNullable<T>, false>> {
  const until = Date.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await check();
      if (value) return value as Exclude<NonNullable<T>, false>;
      last = new Error(`it stayed ${JSON.stringify(value)}`);
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`nothing of the kind within ${timeoutMs} ms`, { cause: last });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
