import { setTimeout as delay } from 'node:timers/promises';
import type { Bus } from '#shared/bus/bus.ts';
import type { Task } from '#shared/bus/tasks.ts';
import type { Definition } from '#shared/contracts/agent.ts';
import type { RunDraft, RunError } from '#shared/contracts/events.ts';
import { diskFailure } from '#shared/disk.ts';
import { repeatsMax, repeatsOf } from '#shared/domain/loops.ts';
import type { NextAction, RunLimits } from '#shared/domain/next-action.ts';
import { nextAction } from '#shared/domain/next-action.ts';
import { retryOrFail } from '#shared/domain/retry.ts';
import type { Run } from '#shared/domain/run.ts';
import { hasEnded } from '#shared/domain/run.ts';
import { Failure, messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import { callTool, callTools } from './call-tool.ts';
import { compact } from './compact.ts';
import type { Config } from './config.ts';
import { keepDeliverable } from './deliverable.ts';
import type { Journal } from './journal.ts';
import { claimJournal, openJournal } from './journal.ts';
import { nextStep } from './model.ts';
import type { Sandboxes } from './sandbox/sandboxes.ts';
import type { Toolbox } from './toolbox.ts';
import { openToolbox } from './toolbox.ts';
import { validate } from './validate.ts';

export type Runner = {
  bus: Bus;
  config: Config;
  writer: Writer;
  instance: string;
  logger: Logger;
  metrics: Metrics;
  sandboxes: Sandboxes;
  /** A secret of the environment, by its name. */
  secret: (name: string) => string | undefined;
};

/** `ended`: the run needs no runner for now; `handed-back`: another runner goes on with it; `lost`: another runner has it already. */
export type Outcome = 'ended' | 'handed-back' | 'lost';

type Signals = {
  /** Aborted: hand the run back after the step at hand. */
  stopping: AbortSignal;
  /** Aborted: leave off at once, for the run was cancelled or the runner must go. */
  abort: AbortSignal;
  /** Aborted when a person's message is to end what is at hand; a new one once it was. */
  interrupt: () => AbortSignal;
  /** Whether somebody has said something about the run since it was last asked. */
  nudged: () => boolean;
};

/** Executes a run from wherever the log says that it is, until it ends or this runner stops. */
export async function execute(runner: Runner, task: Task, signals: Signals): Promise<Outcome> {
  const { runId, dispatch } = task;
  const { bus, instance, metrics, logger, writer } = runner;
  const start = { type: 'toka.run.started.v1', data: { runner: instance } } as const;
  const claimed = task.events && (await claimJournal(bus, runId, writer, start, task));
  const journal = claimed ?? (await openJournal(bus, runId, writer));
  if (!journal || hasEnded(journal.run)) return 'ended';
  // Put back meanwhile: the scheduler dispatches it anew, with a task of its own.
  if (!isOurs(journal.run) || (dispatch !== undefined && dispatch !== journal.run.dispatch)) return 'ended';
  try {
    const first = journal.run.starts === (claimed ? 1 : 0);
    if (!claimed) await journal.record(start);
    if (first) metrics.runWaitSeconds.observe(Math.max(0, Date.now() - Date.parse(journal.run.queuedAt)) / 1000);
    metrics.agentRunsActive.inc({ agent: metrics.agentLabel(journal.run.agentId) });
    try {
      return await loop(runner, journal, signals);
    } finally {
      metrics.agentRunsActive.dec({ agent: metrics.agentLabel(journal.run.agentId) });
      forgetBudget(metrics, metrics.agentLabel(journal.run.agentId));
    }
  } catch (error) {
    if (error instanceof Failure && error.code === 'conflict') return 'lost';
    if (signals.abort.aborted) return handBack(journal, instance);
    const reason = diskFailure(error, "the runner's disk takes nothing more") ?? error;
    if (!(reason instanceof Failure)) logger.error({ err: error, runId }, 'a bug: the run could not go on');
    return await giveUp(runner, journal, reason);
  }
}

const handBackMs = 3_000;

/** Says in the log that another runner may go on with it, in its old place: a runner that dies says nothing, and is counted against the run. */
async function handBack(journal: Journal, instance: string): Promise<Outcome> {
  if (journal.run.status !== 'running') return 'ended'; // it waits for somebody, and is dispatched anew
  const at = journal.run.runAt ?? journal.run.queuedAt;
  const data = { code: 'handed-back', message: `its runner ${instance} was stopped`, at };
  const say = async () => {
    // What a person decided lies apart and holds no append back: whoever cancelled it may be why it is left.
    await journal.refresh();
    await journal.record({ type: 'toka.run.retry-scheduled.v1', data });
  };
  const said = say().then(
    () => 'ended' as const,
    (error) => (error instanceof Failure && error.code === 'conflict' ? ('lost' as const) : ('handed-back' as const)),
  );
  // With NATS away the queue learns of it, too, by itself.
  return Promise.race([said, delay(handBackMs, 'handed-back' as const, { ref: false })]);
}

/** It was dispatched, or its runner has gone; a run that waits or is paused comes back with a task of its own. */
const isOurs = ({ status }: Run) => status === 'dispatched' || status === 'running';

async function loop(runner: Runner, journal: Journal, signals: Signals): Promise<Outcome> {
  const { config, logger, metrics } = runner;
  const { stopping, abort } = signals;
  const agent = metrics.agentLabel(journal.run.agentId);
  const limits = limitsOf(journal.run.definition, config);
  await using toolbox = await openToolbox(runner, journal, limits, abort);
  let interrupt = signals.interrupt();
  let signal = AbortSignal.any([abort, interrupt]);
  for (;;) {
    if (stopping.aborted || abort.aborted) return handBack(journal, runner.instance);
    if (signals.nudged()) await journal.refresh();
    else await journal.current();
    const next = nextAction(journal.run, limits, journal.now(), (tool) => toolbox.find(tool)?.readOnly ?? false);
    const action = next.do === 'model' ? (circle(journal) ?? next) : next;
    if (config.DEBUG_AGENTS) logger.info({ runId: journal.run.id, action }, 'next');
    if (action.do === 'stop') return 'ended';
    if (interrupt.aborted) {
      interrupt = signals.interrupt();
      signal = AbortSignal.any([abort, interrupt]);
    }
    const { version } = journal.run;
    try {
      await act({ runner, journal, toolbox, signal }, action, limits);
    } catch (error) {
      if (error instanceof Failure && error.code === 'stale') {
        await journal.refresh(); // where the run is another's by now, this throws
        if (journal.run.version > version) continue;
      }
      if (!interrupt.aborted || abort.aborted) throw error;
      await interrupted(journal);
    }
    if (action.do === 'model') metrics.agentSteps.inc({ agent });
    showBudget(metrics, agent, journal.run, limits);
    if (action.do === 'fail') return 'ended';
  }
}

/** The end of a run that does the same again and again with the same result. */
const circle = ({ messages }: Journal): NextAction | undefined =>
  repeatsOf(messages) >= repeatsMax
    ? {
        do: 'fail',
        error: { code: 'loop', message: `the model made the same calls ${repeatsMax} times with the same results` },
      }
    : undefined;

type Work = { runner: Runner; journal: Journal; toolbox: Toolbox; signal: AbortSignal };

async function act(work: Work, action: NextAction, limits: RunLimits): Promise<void> {
  const { runner, journal, toolbox, signal } = work;
  const { bus, config } = runner;
  switch (action.do) {
    case 'stop':
      return undefined;
    case 'model':
      return journal.record(await nextStep(bus, journal, toolbox.offers, limits, signal));
    case 'compact':
      return journal.record(await compact(bus, journal, signal));
    case 'tool':
      return callTool(work, action.call);
    case 'tools':
      return callTools(work, action.calls);
    case 'validate': {
      const content = async () => (await deliverableBytes(bus, journal)).toString('utf8');
      return journal.record(await validate(runner, journal, toolbox, content, signal));
    }
    case 'complete': {
      const kept = await toolbox.workbench.keep(true);
      if (kept) await journal.record({ type: 'toka.run.workspace-kept.v1', data: kept });
      if (journal.run.deliverable)
        await keepDeliverable(config.DELIVERABLES_DIR, journal.run, await deliverableBytes(bus, journal));
      return journal.record({ type: 'toka.run.completed.v1', data: { result: action.result } });
    }
    case 'fail': {
      // What it did is worth keeping, but the run fails for its own reason whether that can be done or not.
      const kept = await toolbox.workbench.keep(false).catch(() => null);
      if (kept) await journal.record({ type: 'toka.run.workspace-kept.v1', data: kept });
      return journal.record(endOf(runner, journal.run, action.error));
    }
  }
}

/** A person's message ended what was at hand: a model's answer is not waited for, and a tool's call has a result that says so. */
async function interrupted(journal: Journal): Promise<void> {
  await journal.refresh();
  const [call] = journal.run.pending;
  if (!call?.begun) return;
  const text = 'interrupted: a person has sent a message. It may or may not have taken effect.';
  await journal.record({
    type: 'toka.run.tool-returned.v1',
    data: { ...{ callId: call.callId, tool: call.tool }, isError: true, text, killed: 'interrupted', durationMs: 0 },
  });
}

/** How much of its limits a run has used. */
function showBudget(metrics: Metrics, agent: string, run: Run, limits: RunLimits): void {
  const { inputTokens, outputTokens, costUsd } = run.usage;
  const shares = {
    steps: run.steps / limits.maxSteps,
    tokens: (inputTokens + outputTokens) / limits.maxTokens,
    cost: limits.maxCostUsd ? (costUsd ?? 0) / limits.maxCostUsd : 0,
  };
  for (const [limit, share] of Object.entries(shares)) metrics.agentBudgetUsed.set({ agent, limit }, share);
}

/** A run that this runner has let go of uses nothing here. */
function forgetBudget(metrics: Metrics, agent: string): void {
  for (const limit of ['steps', 'tokens', 'cost']) metrics.agentBudgetUsed.set({ agent, limit }, 0);
}

const deliverableBytes = (bus: Bus, { run }: Journal) => {
  if (!run.deliverable) throw new Error(`run ${run.id} has no deliverable`);
  return bus.artifacts.get(run.deliverable.artifact);
};

/** The agent's own limits, or the defaults. */
const limitsOf = ({ limits }: Definition, config: Config): RunLimits => ({
  maxSteps: limits.max_steps ?? config.AGENT_MAX_STEPS,
  maxTokens: limits.max_tokens ?? config.AGENT_MAX_TOKENS,
  maxCostUsd: limits.max_cost_usd ?? null,
  timeoutS: limits.timeout ?? config.AGENT_TIMEOUT,
  contextTokens: config.CONTEXT_TOKENS_MAX,
});

/** The attempt failed: a later one, or the end. What cannot even be recorded is left to the next runner. */
async function giveUp(runner: Runner, journal: Journal, error: unknown): Promise<Outcome> {
  const code = error instanceof Failure ? error.code : 'internal';
  const message = clip(
    scrub(error instanceof Failure ? messageOf(error) : "an internal error; see the runner's log"),
    2_000,
  );
  const retryAfterMs = error instanceof Failure ? error.retryAfterMs : undefined;
  try {
    await journal.refresh(); // as `handBack` does
    await journal.record(retry(runner, journal.run, { code, message }, retryAfterMs));
    return 'ended';
  } catch (failure) {
    return failure instanceof Failure && failure.code === 'conflict' ? 'lost' : 'handed-back';
  }
}

/** What the loop itself ends a run with: only a deliverable that was refused is worth another attempt. */
const endOf = (runner: Runner, run: Run, error: RunError): RunDraft =>
  error.code === 'validation-failed' ? retry(runner, run, error) : { type: 'toka.run.failed.v1', data: error };

/** Where the agent says nothing of its own. */
const retriesMax = { sandbox: 3, tool: 2, validation: 1 };
const paidRetriesMax = 5;

function retry({ config, metrics }: Runner, run: Run, error: RunError, retryAfterMs?: number): RunDraft {
  const given = { provider: config.RUN_RETRIES, ...retriesMax, ...run.definition.retries };
  // An outage may be sat out for as long as one likes; what is paid for each time may not.
  const max = { ...given, answer: Math.min(given.provider ?? config.RUN_RETRIES, paidRetriesMax) };
  const policy = { max, backoffMs: config.RETRY_BACKOFF * 1000, backoffMsMax: config.RETRY_BACKOFF_MAX * 1000 };
  const draft = retryOrFail(run, error, policy, { nowMs: Date.now(), random: Math.random(), retryAfterMs });
  if (draft.type === 'toka.run.retry-scheduled.v1') metrics.retries.inc({ code: error.code });
  return draft;
}
