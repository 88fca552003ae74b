import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import { problemLine, readAgentsFile } from '#shared/agents-file.ts';
import { parseRaw } from '#shared/bus/log.ts';
import { commandAgent } from '#shared/command.ts';
import type { DataOf } from '#shared/contracts/events.ts';
import { runStatuses } from '#shared/domain/run.ts';
import { messageOf } from '#shared/errors.ts';
import { newEvent } from '#shared/event.ts';
import type { Context } from '#shared/service.ts';
import { runService } from '#shared/service.ts';
import { act } from './act.ts';
import type { Board } from './board.ts';
import { apply, emptyBoard } from './board.ts';
import { Config } from './config.ts';
import { plan, waitingSince } from './plan.ts';
import { rosterChanges } from './roster.ts';

type SchedulerContext = Context<z.output<typeof Config>>;

const idleMs = 500;
const queueCheckMs = 5_000;

/** The scheduler: folds the log into a board, and does what is due on it, one append at a time. */
export async function start(context: SchedulerContext) {
  const { bus, stopping, stack, logger } = context;
  const stop = new AbortController();
  const board = emptyBoard();
  const position = createPosition();
  const following = followLog(context, board, position, stop.signal);
  await position.reached(await bus.lastSeq(), stop.signal);
  await loadRoster(context, board);
  const scheduling = schedule(context, board, position, AbortSignal.any([stop.signal, stopping]));
  let failure = 'ok';
  scheduling.catch((error) => {
    failure = messageOf(error);
    logger.error({ err: error }, 'scheduling stopped');
  });
  context.check('scheduling', () => failure);
  stack.defer(async () => {
    stop.abort();
    await Promise.allSettled([following, scheduling]);
  });
}

/** How far the board has followed the log, and a way to wait for more. */
type Position = {
  seq: number;
  advance(seq: number): void;
  reached(seq: number, signal: AbortSignal): Promise<void>;
  moved(timeoutMs: number, signal: AbortSignal): Promise<void>;
};

function createPosition(): Position {
  let wake = new AbortController();
  const position: Position = {
    seq: 0,
    advance(seq) {
      position.seq = seq;
      wake.abort();
      wake = new AbortController();
    },
    async reached(seq, signal) {
      while (position.seq < seq && !signal.aborted) await position.moved(1_000, signal);
    },
    async moved(timeoutMs, signal) {
      await delay(timeoutMs, undefined, { signal: AbortSignal.any([wake.signal, signal]) }).catch(() => undefined);
    },
  };
  return position;
}

async function followLog(
  { bus, logger, metrics }: SchedulerContext,
  board: Board,
  position: Position,
  signal: AbortSignal,
) {
  const startedMs = Date.now();
  for await (const raw of bus.follow({ from: 1, signal })) {
    try {
      const ended = apply(board, parseRaw(raw));
      if (ended?.endedAt && Date.parse(ended.endedAt) >= startedMs) {
        metrics.runsEnded.inc({ status: ended.status });
        const agent = metrics.agentLabel(ended.agentId);
        metrics.agentRunsEnded.inc({ agent, status: ended.status });
        if (ended.startedAt) {
          const seconds = (Date.parse(ended.endedAt) - Date.parse(ended.startedAt)) / 1000;
          metrics.runSeconds.observe({ status: ended.status }, seconds);
          metrics.agentRunSeconds.observe({ agent }, seconds);
        }
      }
    } catch (error) {
      logger.warn(
        { seq: raw.seq, reason: messageOf(error).slice(0, 300) },
        'an event that cannot be read was passed over',
      );
    }
    position.advance(raw.seq);
  }
}

/** Brings the agents to what the file says; a bad agent is reported and left out, the good ones go on. */
async function loadRoster({ bus, config, logger, writer }: SchedulerContext, board: Board): Promise<void> {
  const file = readAgentsFile(config.CONFIG_FILE);
  for (const problem of file.problems) logger.error(problemLine(config.CONFIG_FILE, problem));
  const loaded: DataOf<'toka.system.config-loaded.v1'> = {
    file: config.CONFIG_FILE,
    registered: [],
    updated: [],
    problems: file.problems,
  };
  for (const change of rosterChanges(file, board.agents)) {
    if (change.do === 'leave') {
      logger.warn(`agent "${change.id}" is left as it is: ${change.reason}`);
      continue;
    }
    const { name } = change.spec;
    await commandAgent(bus, name, { type: change.do, spec: change.spec, origin: 'file' }, writer);
    (change.do === 'register' ? loaded.registered : loaded.updated).push(name);
  }
  const told = await bus.append(
    newEvent({ type: 'toka.system.config-loaded.v1', data: loaded }, 'system/scheduler', writer),
  );
  logger.info(
    { registered: loaded.registered, updated: loaded.updated, problems: file.problems.length, seq: told },
    'agents loaded',
  );
}

/** Does what is due, waits until the board shows it, and looks again at each event and each half second. */
async function schedule(
  context: SchedulerContext,
  board: Board,
  position: Position,
  signal: AbortSignal,
): Promise<void> {
  const { bus, config, logger, metrics, writer } = context;
  const limits = {
    queuedMax: config.MAX_CONCURRENT_AGENTS,
    spawnTimeoutS: config.AGENT_SPAWN_TIMEOUT,
    workstreamTimeoutS: config.WORKSTREAM_TIMEOUT,
  };
  let checkedMs = 0;
  while (!signal.aborted) {
    const seen = position.seq;
    try {
      let last = 0;
      for (const action of plan(board, Date.now(), limits)) {
        if (signal.aborted) return;
        if (action.do === 'put-back') metrics.spawnTimeouts.inc();
        last = Math.max(last, await act(bus, writer, action));
      }
      await position.reached(last, signal);
      if (Date.now() - checkedMs > queueCheckMs) {
        checkedMs = Date.now();
        await mendQueue(context, board);
        showMetrics(context, board);
      }
    } catch (error) {
      // NATS is away, or refused: the board is unchanged, so the same plan is made again.
      logger.warn({ reason: messageOf(error) }, 'scheduling will be tried again');
      await delay(idleMs, undefined, { signal }).catch(() => undefined);
    }
    if (position.seq === seen) await position.moved(idleMs, signal);
  }
}

/** A run that is under way but has no task, because its dispatcher died between the two: it gets its task again. */
async function mendQueue({ bus, logger }: SchedulerContext, board: Board): Promise<void> {
  const suspects = [...board.active.values()].filter(({ status }) => status === 'dispatched' || status === 'running');
  if (suspects.length === 0) return;
  const queued = await bus.tasks.queued();
  for (const run of suspects) {
    // The board may have moved on meanwhile: only what is still under way.
    if (queued.has(run.id) || board.active.get(run.id)?.version !== run.version) continue;
    logger.warn({ runId: run.id }, 'a run was under way without a task; it is put on the queue again');
    await bus.tasks.add(run.work.priority, { runId: run.id }, `${run.id}-${run.version}-${Date.now()}`);
  }
}

function showMetrics({ metrics }: SchedulerContext, board: Board): void {
  const nowMs = Date.now();
  metrics.oldestWaitSeconds.set((nowMs - (waitingSince(board, nowMs) ?? nowMs)) / 1000);
  for (const status of runStatuses.slice(0, 5)) {
    metrics.runsByStatus.set(
      { status },
      board.active
        .values()
        .filter((run) => run.status === status)
        .toArray().length,
    );
  }
  for (const status of ['active', 'paused', 'removed'] as const) {
    metrics.agents.set(
      { status },
      board.agents
        .values()
        .filter((agent) => agent.status === status)
        .toArray().length,
    );
  }
}

if (import.meta.main) await runService('scheduler', Config, start);
