import type { Lease } from '#shared/bus/tasks.ts';
import { foldRun } from '#shared/command.ts';
import type { Recorded } from '#shared/contracts/events.ts';
import { runnerSlots } from '#shared/contracts/scheduling.ts';
import { entitySubject } from '#shared/contracts/subjects.ts';
import { watchDisk } from '#shared/disk.ts';
import { hasEnded } from '#shared/domain/run.ts';
import { messageOf } from '#shared/errors.ts';
import { repeat } from '#shared/repeat.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { createSlots } from '#shared/slots.ts';
import { Config } from './config.ts';
import type { Outcome, Runner } from './execute.ts';
import { execute } from './execute.ts';
import { startIntake } from './intake.ts';
import { removeLeftovers } from './repository.ts';
import { openSandboxes } from './sandbox/sandboxes.ts';
import { workOnce } from './work-once.ts';

const slotsMs = 2_000;

/** The runner: takes dispatched runs from the work queue, as many as it has slots, and executes each by the durable loop. */
export async function start(context: Context<Config>) {
  const { bus, config, logger, metrics, instance, stopping, stack } = context;
  const toolSlots = createSlots(config.AGENT_POOL_SIZE, (taken) => {
    metrics.toolSlots.set({ state: 'taken' }, taken);
    metrics.toolSlots.set({ state: 'free' }, config.AGENT_POOL_SIZE - taken);
  });
  metrics.toolSlots.set({ state: 'taken' }, 0);
  metrics.toolSlots.set({ state: 'free' }, config.AGENT_POOL_SIZE);
  metrics.runSlots.set(config.MAX_CONCURRENT_AGENTS);
  watchDisk(context, { workspaces: config.WORKSPACE_DIR, deliverables: config.DELIVERABLES_DIR });
  await removeLeftovers({ scratch: config.WORKSPACE_DIR });
  const sandboxes = stack.use(await openSandboxes(config, instance, toolSlots, logger));
  context.check('sandbox', () => {
    const { tier, reason } = sandboxes.state();
    return tier === 'none' ? reason : 'ok';
  });
  const showTier = () => {
    const { tier, limits } = sandboxes.state();
    metrics.sandbox.reset();
    metrics.sandbox.set({ tier, limits }, 1);
  };
  repeat(stack, 5_000, showTier);
  const runner: Runner = {
    bus,
    config,
    logger,
    metrics,
    instance,
    writer: context.writer,
    sandboxes,
    secret: context.secret,
  };
  const giveUp = new AbortController();
  const slotsNow = () => (stopping.aborted ? 0 : config.MAX_CONCURRENT_AGENTS);
  const tellSlots = () => bus.tell(runnerSlots, { instance, slots: slotsNow() });
  const intake = startIntake({
    max: config.MAX_CONCURRENT_AGENTS,
    stopping,
    take: bus.tasks.take,
    work: workOnce({
      work: (lease) => hold(runner, lease, stopping, giveUp.signal),
      isOurs: async (runId) => foldRun((await bus.history('run', runId)).events)?.runner === instance,
    }),
    changed: (active) => metrics.runsActive.set(active),
  });
  repeat(stack, slotsMs, tellSlots);
  stopping.addEventListener('abort', tellSlots);
  stack.defer(async () => {
    const late = setTimeout(() => giveUp.abort(), config.SHUTDOWN_GRACE * 1000);
    await intake.ended();
    clearTimeout(late);
  });
}

/** Executes a task while holding its lease, and says to the queue what became of it. */
async function hold(runner: Runner, lease: Lease, stopping: AbortSignal, giveUp: AbortSignal): Promise<void> {
  const { bus, config, logger } = runner;
  const { runId } = lease.task;
  const cancelled = new AbortController();
  let interrupt = new AbortController();
  let isNudged = false;
  let decided = 0;
  const look = () => {
    isNudged = true;
    bus.history('run', runId).then(
      ({ events, lastDecision }) => {
        const run = foldRun(events);
        if (run && hasEnded(run)) cancelled.abort();
        const isInterrupt = (event: Recorded) =>
          event.seq > decided && event.type === 'toka.run.message-received.v1' && event.data.mode === 'interrupt';
        if (events.some(isInterrupt)) interrupt.abort();
        decided = Math.max(decided, lastDecision);
      },
      () => undefined, // the next beat asks again
    );
  };
  const nudged = bus.onNudge(runId, look);
  const decisions = entitySubject('decision', runId);
  const beat = setInterval(
    () => {
      lease.working();
      // A nudge may be lost on its way; what people said is in the log.
      bus.lastSeq(decisions).then(
        (seq) => (seq > decided ? look() : undefined),
        () => undefined,
      );
    },
    (config.TASK_LEASE * 1000) / 3,
  );
  let outcome: Outcome;
  try {
    outcome = await execute(runner, lease.task, {
      stopping,
      abort: AbortSignal.any([cancelled.signal, giveUp]),
      nudged: () => {
        const was = isNudged;
        isNudged = false;
        return was;
      },
      interrupt: () => {
        if (interrupt.signal.aborted) interrupt = new AbortController();
        return interrupt.signal;
      },
    });
  } catch (error) {
    logger.warn(
      { runId, reason: messageOf(error) },
      'the run could not be read or recorded; it goes back to the queue',
    );
    outcome = 'handed-back';
  } finally {
    clearInterval(beat);
    nudged.unsubscribe();
  }
  if (cancelled.signal.aborted || outcome === 'ended') lease.ack();
  else if (outcome === 'handed-back') lease.nak(stopping.aborted ? undefined : 1_000);
  // lost: its new holder acknowledges it
}

if (import.meta.main) await runService('agent-runner', Config, start);
