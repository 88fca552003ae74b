import type { Problem } from '#shared/errors.ts';
import type { ModelTraits } from '../pivot.ts';

/**
 * Whether a model takes a request by the responses API alone. Codex models are asked by no other ("not a chat model", OpenAI's own 404), and
 * newer models take function tools only there (OpenAI's deployment checklist, and the pages of its models, 2026-11-30).
 */
export const isResponsesOnly = (tools: readonly unknown[], { responses_only: only }: ModelTraits): boolean =>
  only === 'all' || (only === 'tools' && tools.length > 0);

/** Why a request cannot go to this model by chat completions. A model that has an effort for them takes tools there, without its thinking. */
export function responsesOnlyProblems(tools: readonly unknown[], traits: ModelTraits): Problem[] {
  if (!isResponsesOnly(tools, traits)) return [];
  if (traits.responses_only === 'all')
    return [{ field: 'model', message: 'is asked by the responses API alone; ask it by /v1/responses' }];
  if (traits.tools_reasoning_effort !== undefined) return [];
  return [{ field: 'tools', message: 'are taken by this model on the responses API alone; ask it by /v1/responses' }];
}
