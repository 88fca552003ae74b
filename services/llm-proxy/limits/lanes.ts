import type { Priority } from '#shared/contracts/ids.ts';

/** What waits: how urgent it is, and whose turn it takes among the equally urgent. */
type Waiting = { priority: Priority; turn: string };

/** Those who wait, by priority, then in turns, then as they came. */
export type Lanes<W extends Waiting> = {
  add(waiting: W): void;
  /** `wasServed`: its turn is over, and those of all others come first. */
  remove(waiting: W, wasServed: boolean): void;
  count(): number;
  /** By priority; within one, the first of each turn before the second of any. */
  inOrder(): Iterable<W>;
};

const order: readonly Priority[] = ['critical', 'high', 'medium', 'low'];

export function createLanes<W extends Waiting>(): Lanes<W> {
  const lanes = new Map(order.map((priority) => [priority, new Map<string, W[]>()]));
  let count = 0;
  return {
    add(waiting) {
      count++;
      const lane = lanes.get(waiting.priority);
      const line = lane?.get(waiting.turn);
      if (line) line.push(waiting);
      else lane?.set(waiting.turn, [waiting]);
    },
    remove(waiting, wasServed) {
      count--;
      const lane = lanes.get(waiting.priority);
      const line = lane?.get(waiting.turn) ?? [];
      line.splice(line.indexOf(waiting), 1);
      if (line.length > 0 && !wasServed) return;
      lane?.delete(waiting.turn);
      if (line.length > 0) lane?.set(waiting.turn, line);
    },
    count: () => count,
    *inOrder() {
      for (const lane of lanes.values()) {
        const lines = [...lane.values()].map((line) => [...line]);
        const longest = Math.max(0, ...lines.map(({ length }) => length));
        for (let at = 0; at < longest; at++) yield* lines.flatMap((line) => line[at] ?? []);
      }
    },
  };
}
