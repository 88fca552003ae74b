import type { Context } from 'koa';
import type { Bus } from '#shared/bus/bus.ts';
import { foldRun } from '#shared/command.ts';
import { filtersOf, isRunEvent } from '#shared/contracts/events.ts';
import type { RunView } from '#shared/contracts/store.ts';
import { evolve, hasEnded } from '#shared/domain/run.ts';
import { runView } from '#shared/domain/views.ts';
import type { Caller } from './auth.ts';
import { goneSignal } from './gone.ts';
import type { Seats } from './seats.ts';

const secondsMax = 300;

/** How long a caller would rather wait than hear that a run is under way, by `Prefer: wait=<seconds>` (RFC 7240). What it does not know it ignores. */
export function secondsToWait(prefer: string): number | undefined {
  const [, seconds] = /(?:^|,)\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:[,;]|$)/i.exec(prefer) ?? [];
  return seconds === undefined ? undefined : Math.min(Number(seconds), secondsMax);
}

/** Answers with a run as it ended, if it does within what its caller is ready to wait; else with what is known of it at once. */
export type Wait = (ctx: Context, caller: Caller, view: RunView) => Promise<RunView>;

export function createWait(bus: Bus, seats: Seats, stopping: AbortSignal): Wait {
  return async (ctx, caller, view) => {
    const seconds = secondsToWait(ctx.get('prefer'));
    if (seconds === undefined) return view;
    const free = seat(seats, caller);
    if (!free) return view;
    try {
      const signal = AbortSignal.any([stopping, goneSignal(ctx), AbortSignal.timeout(seconds * 1000)]);
      const run = await ended(bus, view.id, signal);
      if (!run) return view;
      ctx.status = 200;
      ctx.set({ 'Preference-Applied': `wait=${seconds}`, 'Toka-Seq': String(run.version) });
      return run;
    } finally {
      free();
    }
  };
}

/** Undefined where none is left: a preference is no reason to refuse what was done already. */
function seat(seats: Seats, { sub }: Caller): (() => void) | undefined {
  try {
    return seats.take(sub);
  } catch {
    return undefined;
  }
}

/** Follows a run to its end; undefined where that has not come when `signal` is aborted. */
async function ended(bus: Bus, id: string, signal: AbortSignal): Promise<RunView | undefined> {
  const over = new AbortController();
  let run = foldRun(await bus.read('run', id));
  if (run && hasEnded(run)) return runView(run);
  const following = { from: (run?.version ?? 0) + 1, subjects: filtersOf(`run/${id}`) };
  for await (const raw of bus.follow({ ...following, signal: AbortSignal.any([signal, over.signal]) })) {
    const event = bus.readEvent(raw);
    if (event && isRunEvent(event)) run = evolve(run, event);
    // Not by `break`: what follows lets its consumer go once it is told to stop.
    if (run && hasEnded(run)) over.abort();
  }
  return run && hasEnded(run) ? runView(run) : undefined;
}
