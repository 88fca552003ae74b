import type { Bus } from '#shared/bus/bus.ts';
import { runnerSlots } from '#shared/contracts/scheduling.ts';

/** A runner that has said nothing for so long has gone. */
const silenceMsMax = 7_000;

/** What the runners may execute at a time in all, as far as they have said. */
export function hearSlots(bus: Bus, changed: () => void): () => number {
  const runners = new Map<string, { slots: number; heardMs: number }>();
  bus.hear(runnerSlots, ({ instance, slots }) => {
    const isNew = runners.get(instance)?.slots !== slots;
    if (slots === 0) runners.delete(instance);
    else runners.set(instance, { slots, heardMs: performance.now() });
    if (isNew) changed();
  });
  return () => {
    const now = performance.now();
    for (const [instance, { heardMs }] of runners) if (now - heardMs > silenceMsMax) runners.delete(instance);
    return runners.values().reduce((sum, { slots }) => sum + slots, 0);
  };
}
