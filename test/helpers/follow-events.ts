import type { Bus } from '#shared/bus/bus.ts';
import type { Recorded } from '#shared/contracts/events.ts';

/** Every event of the log so far, in order, for as long as the stack is open. */
export function followEvents(stack: AsyncDisposableStack, bus: Bus): Recorded[] {
  const events: Recorded[] = [];
  const stop = new AbortController();
  const following = (async () => {
    for await (const raw of bus.follow({ from: 1, signal: stop.signal })) events.push(...[bus.readEvent(raw)].filter((event) => event !== undefined));
  })();
  stack.defer(async () => {
    stop.abort();
    await following;
  });
  return events;
}
