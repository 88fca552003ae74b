import { setTimeout as delay } from 'node:timers/promises';
import type { Lease } from '#shared/bus/lease.ts';
import { notRegistered } from '#shared/domain/registered.ts';
import { messageOf } from '#shared/errors.ts';
import type { Context } from '#shared/service.ts';
import { act } from './act.ts';
import type { Bell } from './bell.ts';
import type { Action } from './due.ts';
import type { Position } from './follow.ts';
import { createQueueMender } from './mend-queue.ts';
import type { Scheduler } from './scheduler.ts';

const idleMs = 500;
const queueCheckMs = 2_000;
const actionsMax = 256;
const againMs = 500;

type Lead = {
  context: Pick<Context<unknown>, 'bus' | 'logger' | 'metrics' | 'writer'>;
  scheduler: Scheduler;
  position: Position;
  bell: Bell;
  lease: Pick<Lease, 'isHeld'>;
  slots: () => number;
  /** Brings the agents to what the file says, where it has changed since; `isNew`: this instance begins to lead. */
  roster: (isNew: boolean) => Promise<void>;
  now: () => number;
  signal: AbortSignal;
};

/**
 * Does what is due for as long as this instance leads: at each event, and each half second. Actions go side by side, each one append.
 * Two that lead at once do no harm: an append that another was faster with is refused.
 */
export async function lead({ context, scheduler, position, bell, lease, slots, roster, now, signal }: Lead) {
  const { bus, logger } = context;
  const doing = new Set<Promise<void>>();
  const run = async (action: Action) => {
    try {
      if (action.do === 'put-back') context.metrics.spawnTimeouts.inc();
      if (action.do === 'fail' && action.error.code === notRegistered) {
        const { id: runId, agentId } = action.run;
        logger.warn(
          { runId, agentId, reason: action.error.message },
          'a run was queued that nobody registered; it is ended',
        );
      }
      await act(bus, context.writer, action);
    } catch (error) {
      logger.warn({ reason: messageOf(error) }, 'scheduling will be tried again');
      await delay(againMs, undefined, { signal }).catch(() => undefined);
      scheduler.again(action);
      bell.ring();
    }
  };
  const mendQueue = createQueueMender(bus, logger, scheduler.board);
  /** What fails here again and again must not keep runs from going. */
  const attempt = (work: () => Promise<void>) =>
    work().catch((error) => logger.warn({ reason: messageOf(error) }, 'this will be tried again'));
  let leads = false;
  let mendedMs = 0;
  while (!signal.aborted) {
    try {
      const begins = lease.isHeld() && !leads;
      leads = lease.isHeld();
      if (begins) {
        logger.info('this scheduler leads');
        await caughtUp(await bus.lastSeq(), position, bell, signal);
      }
      if (leads) await attempt(() => roster(begins));
      if (leads && (begins || performance.now() - mendedMs > queueCheckMs)) {
        mendedMs = performance.now();
        await attempt(mendQueue);
      }
      for (const action of lease.isHeld() ? scheduler.due(now(), slots()) : []) {
        while (doing.size >= actionsMax) await Promise.race(doing);
        const work = run(action).finally(() => doing.delete(work));
        doing.add(work);
      }
    } catch (error) {
      // NATS is away, or refused.
      logger.warn({ reason: messageOf(error) }, 'scheduling will be tried again');
      leads = false;
      await delay(againMs, undefined, { signal }).catch(() => undefined);
    }
    await bell.wait(idleMs);
  }
  await Promise.allSettled(doing);
}

/** Resolves once the log has been followed up to `seq`. */
export async function caughtUp(seq: number, position: Position, bell: Bell, signal: AbortSignal): Promise<void> {
  while (position.seq < seq && !signal.aborted) await bell.wait(idleMs);
}
