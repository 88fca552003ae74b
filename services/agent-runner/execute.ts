import type { Bus } from '#shared/bus/bus.ts';
import type { Definition } from '#shared/contracts/agent.ts';
import type { ToolOffer } from '#shared/contracts/llm.ts';
import type { RunLimits } from '#shared/domain/next-action.ts';
import { nextAction } from '#shared/domain/next-action.ts';
import { retryOrFail } from '#shared/domain/retry.ts';
import type { PendingCall, Run } from '#shared/domain/run.ts';
import { hasEnded } from '#shared/domain/run.ts';
import { decide } from '#shared/domain/run-commands.ts';
import { Failure, isTransient, messageOf } from '#shared/errors.ts';
import type { Writer } from '#shared/event.ts';
import type { Logger } from '#shared/log.ts';
import type { Metrics } from '#shared/metrics.ts';
import { scrub } from '#shared/secrets.ts';
import { clip } from '#shared/text.ts';
import type { Config } from './config.ts';
import { deliverableName, keepDeliverable } from './deliverable.ts';
import type { Journal } from './journal.ts';
import { openJournal } from './journal.ts';
import { judge, nextStep } from './model.ts';
import type { Slots } from './slots.ts';
import type { ToolHost } from './tool-host.ts';
import { openToolHost } from './tool-host.ts';
import { isIdempotent, offersFor } from './tools/definitions.ts';
import { openWorkspace, removeWorkspace } from './workspace.ts';

export type Runner = {
  bus: Bus;
  config: Config;
  writer: Writer;
  instance: string;
  logger: Logger;
  metrics: Metrics;
  toolSlots: Slots;
};

/** `ended`: the run needs no runner for now; `handed-back`: another runner goes on with it; `lost`: another runner has it already. */
export type Outcome = 'ended' | 'handed-back' | 'lost';

type Signals = {
  /** Aborted: hand the run back after the step at hand. */
  stopping: AbortSignal;
  /** Aborted: leave off at once, for the run was cancelled or the runner must go. */
  abort: AbortSignal;
};

/** Executes a run from wherever the log says that it is, until it ends or this runner stops. */
export async function execute(runner: Runner, runId: string, signals: Signals): Promise<Outcome> {
  const { bus, instance, metrics, logger, writer } = runner;
  const journal = await openJournal(bus, runId, writer);
  if (!journal || hasEnded(journal.run)) return 'ended';
  // Put back meanwhile: the scheduler will dispatch it anew, with a task of its own.
  if (journal.run.status === 'queued' || journal.run.status === 'waiting') return 'ended';
  try {
    const first = journal.run.startedAt === null;
    for (const draft of decide(journal.run, { type: 'start', runner: instance })) await journal.record(draft);
    if (first) metrics.runWaitSeconds.observe((Date.now() - Date.parse(journal.run.queuedAt)) / 1000);
    metrics.agentRunsActive.inc({ agent: metrics.agentLabel(journal.run.agentId) });
    try {
      return await loop(runner, journal, signals);
    } finally {
      metrics.agentRunsActive.dec({ agent: metrics.agentLabel(journal.run.agentId) });
      forgetBudget(metrics, metrics.agentLabel(journal.run.agentId));
    }
  } catch (error) {
    if (error instanceof Failure && error.code === 'conflict') return 'lost';
    if (signals.abort.aborted) return 'handed-back';
    if (!(error instanceof Failure)) logger.error({ err: error, runId }, 'a bug: the run could not go on');
    return await giveUp(runner, journal, error);
  }
}

async function loop(runner: Runner, journal: Journal, { stopping, abort }: Signals): Promise<Outcome> {
  const { bus, config, logger, metrics } = runner;
  const { definition, work } = journal.run;
  const agent = metrics.agentLabel(journal.run.agentId);
  const limits = limitsOf(definition, config);
  const grants = grantsOf(definition, config);
  if (config.CAPABILITY_VALIDATION === 'warn' && definition.capabilities.secondary.length > 0)
    logger.warn(
      { runId: journal.run.id, granted: definition.capabilities.secondary },
      'secondary capabilities are granted',
    );
  const offers = offersFor(grants, work.deliverable !== null);
  const workspace = await openWorkspace({
    root: config.WORKSPACE_DIR,
    runId: journal.run.id,
    definition,
    repositoryRoots: config.REPOSITORY_ROOTS.split(','),
  });
  await using tools = openTools(runner, journal.run, workspace.path, offers, abort);
  for (;;) {
    if (stopping.aborted || abort.aborted) return 'handed-back';
    const action = nextAction(journal.run, limits, Date.now());
    if (config.DEBUG_AGENTS) logger.info({ runId: journal.run.id, action }, 'next');
    switch (action.do) {
      case 'stop':
        return 'ended';
      case 'model':
        await journal.record(await nextStep(bus, journal, offers, abort));
        metrics.agentSteps.inc({ agent });
        break;
      case 'tool':
        await callTool(
          runner,
          journal,
          tools,
          action.call,
          offers.map(({ name }) => name),
        );
        break;
      case 'validate':
        await journal.record(
          await judge(bus, journal.run, (await deliverableBytes(bus, journal)).toString('utf8'), abort),
        );
        break;
      case 'complete':
        if (journal.run.deliverable)
          await keepDeliverable(config.DELIVERABLES_DIR, journal.run, await deliverableBytes(bus, journal));
        await journal.record({ type: 'toka.run.completed.v1', data: { result: action.result } });
        break;
      case 'fail':
        await journal.record({ type: 'toka.run.failed.v1', data: action.error });
        break;
    }
    showBudget(metrics, agent, journal.run, limits);
    if (hasEnded(journal.run) && !config.DEBUG_AGENTS) await removeWorkspace(config.WORKSPACE_DIR, journal.run.id);
  }
}

function openTools(
  { config, metrics, toolSlots }: Runner,
  run: Run,
  workspace: string,
  offers: readonly ToolOffer[],
  signal: AbortSignal,
): ToolHost {
  const agent = metrics.agentLabel(run.agentId);
  return openToolHost({
    workspace,
    tools: offers.map(({ name }) => name),
    memoryBytes: run.definition.limits.memory ?? config.MAX_MEMORY_PER_AGENT,
    timeoutMs: config.TOOL_TIMEOUT * 1000,
    signal,
    slots: toolSlots,
    sandboxed: config.AGENT_SANDBOX_ENABLED,
    took: ({ cpuSeconds, peakBytes }) => {
      metrics.agentCpuSeconds.inc({ agent }, cpuSeconds);
      metrics.agentMemoryPeak.set({ agent }, peakBytes);
    },
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
});

/** Secondary capabilities need a person's approval, which a later version asks for: until then they grant nothing. */
const grantsOf = ({ capabilities }: Definition, config: Config): string[] =>
  config.CAPABILITY_VALIDATION === 'strict'
    ? capabilities.primary
    : [...capabilities.primary, ...capabilities.secondary];

/** Runs one tool call and records its result. A call that was begun but has no result is run again only if that does no harm. */
async function callTool(
  { bus, metrics }: Runner,
  journal: Journal,
  tools: ToolHost,
  call: PendingCall,
  offered: string[],
): Promise<void> {
  const { callId, tool, begun } = call;
  const startedMs = performance.now();
  const returned = (isError: boolean, text: string) => {
    const outcome = isError ? 'error' : 'ok';
    const name = offered.includes(tool) ? tool : 'other';
    metrics.toolCalls.inc({ tool: name, outcome });
    metrics.toolSeconds.observe({ tool: name }, (performance.now() - startedMs) / 1000);
    metrics.agentToolCalls.inc({ agent: metrics.agentLabel(journal.run.agentId), outcome });
    const durationMs = Math.round(performance.now() - startedMs);
    return journal.record({ type: 'toka.run.tool-returned.v1', data: { callId, tool, isError, text, durationMs } });
  };
  if (!offered.includes(tool)) {
    return returned(true, `There is no tool "${clip(tool, 100)}" for you. You have: ${offered.join(', ') || 'none'}.`);
  }
  if (begun && !isIdempotent(tool))
    return returned(true, 'This call was interrupted: it may or may not have taken effect. Look before you repeat it.');
  if (!begun) await journal.record({ type: 'toka.run.tool-called.v1', data: { callId, tool } });
  const result = await tools.call(tool, argsOf(journal, callId));
  if (!result.deliverable) return returned(result.isError, result.text);
  const { bytes, mediaType, summary, path } = result.deliverable;
  const name = deliverableName(journal.run.work, path);
  const artifact = await bus.artifacts.put(bytes);
  await journal.record({
    type: 'toka.run.deliverable-submitted.v1',
    data: { callId, name, mediaType, summary, artifact },
  });
}

/** What the model asked for, from the conversation: the state holds only which calls are open. */
function argsOf({ messages }: Journal, callId: string): unknown {
  for (const message of messages.toReversed()) {
    if (message.role !== 'assistant') continue;
    const call = message.toolCalls.find((each) => each.callId === callId);
    if (call) return call.args;
  }
  return {};
}

/** The attempt failed: a later one, or the end. What cannot even be recorded is left to the next runner. */
async function giveUp({ config, metrics }: Runner, journal: Journal, error: unknown): Promise<Outcome> {
  const code = error instanceof Failure ? error.code : 'internal';
  const message = clip(
    scrub(error instanceof Failure ? messageOf(error) : "an internal error; see the runner's log"),
    2_000,
  );
  const policy = {
    retriesMax: config.RUN_RETRIES,
    backoffMs: config.RETRY_BACKOFF * 1000,
    backoffMsMax: config.RETRY_BACKOFF_MAX * 1000,
  };
  const draft = isTransient(error)
    ? retryOrFail(journal.run, { code, message }, policy, {
        nowMs: Date.now(),
        random: Math.random(),
        retryAfterMs: error instanceof Failure ? error.retryAfterMs : undefined,
      })
    : ({ type: 'toka.run.failed.v1', data: { code, message } } as const);
  if (draft.type === 'toka.run.retry-scheduled.v1') metrics.retries.inc({ code });
  try {
    await journal.record(draft);
    return 'ended';
  } catch (failure) {
    return failure instanceof Failure && failure.code === 'conflict' ? 'lost' : 'handed-back';
  }
}
