/** Does `work` at once and then every `ms`, one at a time, until the stack is disposed. What it throws goes to `failed`. */
export function repeat(
  stack: AsyncDisposableStack,
  ms: number,
  work: () => Promise<void> | void,
  failed: (error: unknown) => void = () => undefined,
): void {
  let busy = false;
  const once = async () => {
    if (busy) return;
    busy = true;
    await Promise.resolve()
      .then(work)
      .catch(failed)
      .finally(() => {
        busy = false;
      });
  };
  void once();
  const timer = setInterval(once, ms);
  stack.defer(() => clearInterval(timer));
}
