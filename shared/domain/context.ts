import type { ChatMessage } from '#shared/contracts/llm.ts';
import { startOfLast } from './conversation.ts';
import type { RunLimits } from './next-action.ts';
import type { Run } from './run.ts';
import { tookMsOf } from './run.ts';

const nearlyUsed = 0.8;

/** One line for a model whose run has little left of a limit, or null. In coarse words, so that equal turns are equal requests. */
export function budgetNote(run: Run, limits: RunLimits, nowMs: number): string | null {
  const { inputTokens, outputTokens, costUsd } = run.usage;
  const elapsedS = tookMsOf(run, nowMs) / 1000;
  const left = [
    run.steps >= limits.maxSteps * nearlyUsed ? `${Math.max(1, limits.maxSteps - run.steps)} more answers` : undefined,
    inputTokens + outputTokens >= limits.maxTokens * nearlyUsed ? 'less than a fifth of its tokens' : undefined,
    limits.maxCostUsd !== null && (costUsd ?? 0) >= limits.maxCostUsd * nearlyUsed
      ? 'less than a fifth of its budget'
      : undefined,
    elapsedS >= limits.timeoutS * nearlyUsed ? 'less than a fifth of its time' : undefined,
  ].filter((each) => each !== undefined);
  if (left.length === 0) return null;
  return `[This run has ${left.join(', ')} left. Come to an end: hand in what there is, and say what is missing.]`;
}

const bulkShare = 0.3;
export const keptSteps = 4;

/** Whether leaving out the results of tools before the last steps makes enough room; else the conversation must be summed up. */
export function hasBulk(messages: readonly ChatMessage[]): boolean {
  const from = startOfLast(messages, keptSteps);
  const chars = (list: readonly ChatMessage[]) => list.reduce((sum, { text }) => sum + text.length, 0);
  const old = messages.slice(0, from).filter(({ role }) => role === 'tool');
  return chars(old) >= chars(messages) * bulkShare;
}
