import { priorities } from '#shared/contracts/ids.ts';
import type { Run } from '#shared/domain/run.ts';
import type { Caps, Hold, Key } from './keys.ts';
import { createHolders, criticalKey, keysOf } from './keys.ts';

/** One start in so many goes to the run that is due longest, whatever its priority, so that none waits for ever. */
export const oldestEvery = 10;

type Entry = { run: Run; dueMs: number; keys: readonly Key[]; isAbove: (holder: string) => boolean };
/** Ready runs of one priority and one workstream, the one that is due longest first. `served`: the turn of its last start. */
type Lane = { name: string; level: number; served: number; entries: Entry[] };

/** The runs that are ready, and who goes next. */
export type Lanes = {
  add(run: Run, dueMs: number): void;
  remove(runId: string): void;
  /** What a run that is not ready holds now. */
  hold(run: Run, how: Hold): void;
  /** Takes the run that goes next out of its lane, with all that it needs. Undefined: none can go now. */
  take(): Run | undefined;
  /** Who keeps a run from its branch. */
  rivals(run: Run): string[];
  size(): number;
  /** When the run that is due longest became so, in epoch milliseconds. */
  oldestMs(): number | undefined;
};

/**
 * Order: by priority; within one, workstreams take turns; within one of these, who is due longest. Runs whose keys are taken are
 * passed over, but one that waits in turn for its branch keeps those behind it from that branch. `parentOf` tells the run that asked
 * for another.
 */
export function createLanes(caps: Caps, parentOf: (runId: string) => string | undefined): Lanes {
  const lanes = new Map<string, Lane>();
  const places = new Map<string, { lane: Lane; entry: Entry }>();
  const holders = createHolders();
  let turn = 0;
  /** Whether anything has changed since none could go. */
  let isStirred = true;

  const remove = (runId: string) => {
    const place = places.get(runId);
    if (!place) return;
    const { lane, entry } = place;
    places.delete(runId);
    lane.entries.splice(lane.entries.indexOf(entry), 1);
    if (lane.entries.length === 0) lanes.delete(lane.name);
    if (entry.keys.some(isInTurn)) isStirred = true;
  };
  const hold = (run: Run, how: Hold) => {
    if (holders.set(run.id, keysOf(run, caps), how)) isStirred = true;
  };
  const next = (): Entry | undefined => {
    if (turn % oldestEvery === oldestEvery - 1)
      return candidates(lanes, holders).reduce<Entry | undefined>(
        (best, each) => (best && before(best, each) < 0 ? best : each),
        undefined,
      );
    if (holders.count(criticalKey) > 0) return undefined;
    return candidates(lanes, holders).find(() => true);
  };

  return {
    add(run, dueMs) {
      remove(run.id);
      const level = priorities.indexOf(run.work.priority);
      const name = `${level} ${run.definition.workstream}`;
      const lane = lanes.get(name) ?? { name, level, served: turn, entries: [] };
      lanes.set(name, lane);
      const entry = { run, dueMs, keys: keysOf(run, caps), isAbove: aboveOf(run, parentOf) };
      lane.entries.splice(placeOf(lane.entries, entry), 0, entry);
      places.set(run.id, { lane, entry });
      isStirred = true;
    },
    remove,
    hold,
    take() {
      const entry = isStirred && places.size > 0 ? next() : undefined;
      isStirred = entry !== undefined;
      if (!entry) return undefined;
      turn += 1;
      const lane = places.get(entry.run.id)?.lane;
      if (lane) lane.served = turn;
      remove(entry.run.id);
      hold(entry.run, 'at-work');
      return entry.run;
    },
    rivals: (run) => holders.rivals(run.id, keysOf(run, caps), aboveOf(run, parentOf)),
    size: () => places.size,
    oldestMs: () =>
      lanes.values().reduce<number | undefined>((least, { entries: [first] }) => {
        return first && (least === undefined || first.dueMs < least) ? first.dueMs : least;
      }, undefined),
  };
}

const isInTurn = (key: Key) => key.kind === 'branch' && key.access === 'queue';

/** The first run of each lane that could go now, the most urgent lane first, and among equals the one that was served longest ago. */
function* candidates(lanes: ReadonlyMap<string, Lane>, holders: ReturnType<typeof createHolders>): Generator<Entry> {
  const awaited = new Set<string>();
  /** Counts that are used up: many may wait for the same one. */
  const full = new Set<string>();
  for (const lane of [...lanes.values()].toSorted((a, b) => a.level - b.level || a.served - b.served)) {
    const first = lane.entries.find(({ run, keys, isAbove }) => {
      // Who holds a branch, or works for who does, is not kept from it by who waits for it: neither would ever go.
      const isOwn = (holder: string) => holder === run.id || isAbove(holder);
      const isFree = ({ name }: Key) => !awaited.has(name) || holders.isHeldBy(name, isOwn);
      const isKnown = keys.some(({ name }) => full.has(name));
      if (!isKnown && keys.every(isFree) && holders.allows(run.id, keys, isAbove)) return true;
      for (const key of keys) {
        if (isInTurn(key)) awaited.add(key.name);
        if (!isKnown && holders.isFull(key)) full.add(key.name);
      }
      return false;
    });
    if (first) yield first;
  }
}

/** Whether a run is one of those that a run was asked for by, directly or not. */
function aboveOf(run: Run, parentOf: (runId: string) => string | undefined): (runId: string) => boolean {
  const above = new Set<string>();
  for (let id = run.parent?.runId; id !== undefined && !above.has(id); id = parentOf(id)) above.add(id);
  return (runId) => above.has(runId);
}

const before = (a: Entry, b: Entry) => a.dueMs - b.dueMs || (a.run.id < b.run.id ? -1 : 1);

/** Where an entry belongs in a sorted row: as a rule at its end. */
function placeOf(entries: readonly Entry[], entry: Entry): number {
  let low = 0;
  let high = entries.length;
  const isLast = high === 0 || before(entries[high - 1] as Entry, entry) < 0;
  while (!isLast && low < high) {
    const middle = (low + high) >> 1;
    if (before(entries[middle] as Entry, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return high;
}
