import type { z } from 'zod';
import type { countRuns } from '#shared/contracts/scheduling.ts';
import type { Run, RunStatus } from '#shared/domain/run.ts';
import type { Board, Touched } from './board.ts';

type Place = z.output<typeof countRuns.input>;

/** How many runs have not ended: by status, and whose they are. */
export type Counts = {
  touched(touched: Touched): void;
  of(status: RunStatus): number;
  share(place: Place): z.output<typeof countRuns.output>;
};

const keysOf = ({ workstream, actor }: Place) => [
  JSON.stringify({ workstream }),
  JSON.stringify({ workstream, actor }),
];

/** Counts the runs of a board, which it keeps up from then on: whatever they wait for, be it that their agent is paused. */
export function createCounts(board: Board): Counts {
  const counted = new Map<string, readonly string[]>();
  const counts = new Map<string, number>();
  const add = (key: string, change: 1 | -1) => {
    const count = (counts.get(key) ?? 0) + change;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  };
  const set = ({ id, status, definition }: Run, ended: boolean) => {
    for (const key of counted.get(id) ?? []) add(key, -1);
    counted.delete(id);
    // What is not to be carried out is nobody's.
    if (ended || board.refused.has(id)) return;
    const place = { workstream: definition.workstream, actor: board.queuedBy.get(id) ?? '' };
    const keys = [status, ...keysOf(place)];
    for (const key of keys) add(key, 1);
    counted.set(id, keys);
  };
  for (const run of board.active.values()) set(run, false);
  return {
    touched({ run, ended = false }) {
      if (run) set(run, ended);
    },
    of: (status) => counts.get(status) ?? 0,
    share(place) {
      const [workstream = '', caller = ''] = keysOf(place);
      return { all: counted.size, workstream: counts.get(workstream) ?? 0, caller: counts.get(caller) ?? 0 };
    },
  };
}
