import { LRUCache } from 'lru-cache';
import type { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { countRuns } from '#shared/contracts/scheduling.ts';
import { Failure } from '#shared/errors.ts';
import type { Caller } from './auth.ts';
import { actorOf } from './auth.ts';

const keptMs = 500;
const askMs = 1_000;
/** In that time what is on the log has reached the schedulers. */
const settleMs = 500;
const placesMax = 10_000;
const retryAfterMs = 5_000;

/** Runs that have not ended, at most: of all, of each workstream, and of each caller in a workstream. */
export type BacklogLimits = Readonly<Record<keyof Counts, { max: number; setting: string }>>;

type Counts = z.output<typeof countRuns.output>;

/**
 * Holds places for runs that are about to be queued, until it is disposed: they are on the log by then. Throws `limited` where there are not so
 * many.
 */
export type Backlog = {
  hold(caller: Pick<Caller, 'sub' | 'workstreams'>, workstream: string, runs: number): Promise<Disposable>;
};

/**
 * Asks the schedulers how many there are, twice a second at most, and counts what was taken here since. While they are away nothing is refused:
 * what is queued is on the log all the same.
 */
export function createBacklog(bus: Pick<Bus, 'ask'>, limits: BacklogLimits): Backlog {
  const taken = createTaken();
  const asked = new LRUCache<string, { counts: Promise<Counts | null>; atMs: number }>({ max: placesMax, ttl: keptMs });
  const ask = (place: z.input<typeof countRuns.input>) => {
    const key = JSON.stringify(place);
    const known = asked.get(key);
    if (known) return known;
    const counts = bus.ask(countRuns, place, { timeoutMs: askMs }).catch(() => null);
    const now = { counts, atMs: performance.now() };
    asked.set(key, now);
    return now;
  };
  return {
    async hold(caller, workstream, runs) {
      // What is to be made where the caller may make nothing is refused elsewhere, and without a word of what is there.
      if (caller.workstreams && !caller.workstreams.includes(workstream)) return { [Symbol.dispose]: () => undefined };
      const actor = actorOf(caller);
      const keys = {
        all: 'all',
        workstream: JSON.stringify([workstream]),
        caller: JSON.stringify([workstream, actor]),
      };
      const { counts, atMs } = ask({ workstream, actor });
      const known = await counts;
      for (const share of ['all', 'workstream', 'caller'] as const) {
        if (!known) break;
        const count = known[share] + taken.since(keys[share], atMs - settleMs);
        if (count + runs > limits[share].max) throw refused(share, { count, runs, workstream }, limits[share]);
      }
      const held = Object.values(keys).map((key) => taken.hold(key, runs));
      return { [Symbol.dispose]: () => held.forEach((free) => void free()) };
    },
  };
}

function refused(
  share: keyof Counts,
  { count, runs, workstream }: { count: number; runs: number; workstream: string },
  { max, setting }: BacklogLimits['all'],
): Failure {
  const of = share === 'caller' ? 'that you queued in the workstream' : 'of the workstream';
  // How many others have is told to nobody.
  const why =
    share === 'all'
      ? `there is no room for ${runs} more of the ${max} runs`
      : `${count} runs ${of} ${JSON.stringify(workstream)} have not ended, and with ${runs} more they would be over the ${max}`;
  return new Failure('limited', `${why} that may be open (${setting}); try again later, or cancel some`, {
    retryAfterMs,
  });
}

/** What was taken here of each share: what is held, and what was let go lately. */
function createTaken() {
  type Taken = { held: number; gone: { atMs: number; runs: number }[] };
  const byKey = new LRUCache<string, Taken>({ max: 3 * placesMax });
  const keepMs = keptMs + settleMs + askMs;
  /** What is let go within this time is counted together. */
  const grainMs = 50;
  return {
    since(key: string, sinceMs: number): number {
      const { held, gone } = byKey.get(key) ?? { held: 0, gone: [] };
      return gone.filter(({ atMs }) => atMs >= sinceMs).reduce((sum, { runs }) => sum + runs, held);
    },
    /** Answers how to let go. */
    hold(key: string, runs: number): () => void {
      const taken = byKey.get(key) ?? { held: 0, gone: [] };
      byKey.set(key, taken);
      taken.held += runs;
      return () => {
        const nowMs = performance.now();
        taken.held -= runs;
        taken.gone = taken.gone.filter(({ atMs }) => atMs >= nowMs - keepMs);
        const last = taken.gone.at(-1);
        if (last && nowMs - last.atMs < grainMs) last.runs += runs;
        else taken.gone.push({ atMs: nowMs, runs });
      };
    },
  };
}
