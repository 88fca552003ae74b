import type { RunError } from '#shared/contracts/events.ts';
import type { PendingCall, Run } from './run.ts';
import { hasEnded, tookMsOf } from './run.ts';
import { isParked } from './run-work.ts';

/** The limits of a run, all set: the agent's own, or the defaults. Time in seconds, cost in US dollars. `contextTokens`: the conversation is compacted beyond. */
export type RunLimits = {
  maxSteps: number;
  maxTokens: number;
  maxCostUsd: number | null;
  timeoutS: number;
  contextTokens: number;
};

export const validationAttemptsMax = 3;
const idleStepsMax = 3;
const startsWithoutProgressMax = 3;
const parallelMax = 8;

export type NextAction =
  | { do: 'model' }
  | { do: 'compact' }
  | { do: 'tool'; call: PendingCall }
  /** Several that change nothing, side by side. */
  | { do: 'tools'; calls: PendingCall[] }
  | { do: 'validate' }
  | { do: 'complete'; result: string }
  | { do: 'fail'; error: RunError }
  | { do: 'stop' };

/**
 * What a runner does next with a run. The whole loop is: do it, record it, fold it, ask again. `nowMs` is epoch milliseconds;
 * `isParallel`: whether a tool's calls may be made side by side, for they change nothing.
 */
export function nextAction(
  run: Run,
  limits: RunLimits,
  nowMs: number,
  isParallel: (tool: string) => boolean = () => false,
): NextAction {
  if (hasEnded(run) || run.status === 'paused') return { do: 'stop' };
  if (run.verdict?.pass) return { do: 'complete', result: run.deliverable?.summary ?? run.lastText };
  const exceeded = limitReached(run, limits, nowMs);
  if (exceeded) return { do: 'fail', error: exceeded };

  if (isParked(run)) return { do: 'stop' };
  const tools = nextCalls(run.pending, isParallel);
  if (tools) return tools;
  if (run.deliverable && !run.verdict) {
    const { validation, validationCommand } = run.work;
    const judged = validation !== null || validationCommand !== null;
    return judged ? { do: 'validate' } : { do: 'complete', result: run.deliverable.summary };
  }
  if (run.failedVerdicts >= validationAttemptsMax) {
    const reasons = run.verdict?.reasons.join(' ') ?? '';
    return fail('validation-failed', `the deliverable was refused ${run.failedVerdicts} times. ${reasons}`.trim());
  }
  if (run.work.deliverable === null && run.steps > 0 && run.idleSteps > 0 && run.unreadMessage === null) {
    return { do: 'complete', result: run.lastText };
  }
  if (run.idleSteps >= idleStepsMax) {
    return fail(
      'no-deliverable',
      `the model answered ${run.idleSteps} times in a row without handing in a deliverable`,
    );
  }
  if (run.steps >= limits.maxSteps)
    return fail('step-limit', `the run took its ${limits.maxSteps} steps (limits.max_steps)`);
  return run.contextTokens > limits.contextTokens ? { do: 'compact' } : { do: 'model' };
}

function nextCalls(pending: readonly PendingCall[], isParallel: (tool: string) => boolean): NextAction | undefined {
  const [call] = pending;
  if (!call) return undefined;
  const end = pending.findIndex(({ tool, begun }) => begun || !isParallel(tool));
  const calls = pending.slice(0, end < 0 ? parallelMax : Math.min(end, parallelMax));
  return calls.length > 1 ? { do: 'tools', calls } : { do: 'tool', call };
}

function limitReached(run: Run, limits: RunLimits, nowMs: number): RunError | undefined {
  if (run.startsWithoutProgress > startsWithoutProgressMax) {
    return {
      code: 'poison',
      message: `the run ended its runner ${startsWithoutProgressMax} times without getting any further`,
    };
  }
  const { inputTokens, outputTokens, costUsd } = run.usage;
  if (inputTokens + outputTokens >= limits.maxTokens) {
    return {
      code: 'token-limit',
      message: `the run used ${inputTokens + outputTokens} of ${limits.maxTokens} tokens (limits.max_tokens)`,
    };
  }
  if (limits.maxCostUsd !== null && costUsd === null) {
    return {
      code: 'cost-unknown',
      message: 'limits.max_cost_usd is set, but the price of the model is not known: add it to config/models.toml',
    };
  }
  if (limits.maxCostUsd !== null && costUsd !== null && costUsd >= limits.maxCostUsd) {
    return {
      code: 'cost-limit',
      message: `the run cost ${costUsd.toFixed(4)} of ${limits.maxCostUsd} USD (limits.max_cost_usd)`,
    };
  }
  if (tookMsOf(run, nowMs) > limits.timeoutS * 1000) {
    return { code: 'timeout', message: `the run took longer than its ${limits.timeoutS} s (limits.timeout)` };
  }
  return undefined;
}

const fail = (code: string, message: string): NextAction => ({ do: 'fail', error: { code, message } });
