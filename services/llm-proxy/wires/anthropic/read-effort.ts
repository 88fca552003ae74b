import type { Effort } from '../pivot.ts';

/** What a conversation says of the effort, in its order. */
export type EffortTurn = {
  role: 'system' | 'user' | 'assistant';
  /** Whether the user says something here, and not only a tool. */
  isInput: boolean;
  effort?: Effort | undefined;
};

/**
 * The rule "per-message effort" (platform.claude.com, build-with-claude/effort-per-message, 2026-11-30): a system message right behind
 * something new of the user's holds from the answer to it, any other from the next such turn on, and until another one says otherwise.
 */
export function effortOf(turns: readonly EffortTurn[]): Effort | undefined {
  let current: Effort | undefined;
  let coming: Effort | undefined;
  let isBehindInput = false;
  for (const { role, isInput, effort } of turns) {
    if (role === 'system') {
      if (effort && isBehindInput) current = effort;
      else coming = effort ?? coming;
      continue;
    }
    isBehindInput = role === 'user' && isInput;
    if (!isBehindInput) continue;
    current = coming ?? current;
    coming = undefined;
  }
  return current;
}

/**
 * The rule "budget as effort": OpenRouter, the one gateway that documents both, gives a low effort 20 % of max_tokens to think with, a
 * medium one 50 % and a high one 80 % (openrouter.ai/docs, "Reasoning tokens", 2026-11-30). The nearest is meant.
 */
export function effortOfBudget(budgetTokens: number, maxTokens: number): Effort {
  const share = budgetTokens / maxTokens;
  if (share < 0.35) return 'low';
  return share < 0.65 ? 'medium' : 'high';
}
