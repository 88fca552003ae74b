import type { Problem } from '#shared/errors.ts';
import type { ModelTraits } from '../pivot.ts';

type Asked = { responses_only?: ModelTraits['responses_only'] };

/**
 * Why a request cannot go to this model by chat completions. Codex models are asked by the responses API alone ("not a chat model", OpenAI's
 * own 404), and models that always think take function tools only there (OpenAI's deployment checklist, 2026-11-30).
 */
export function responsesOnlyProblems(tools: readonly unknown[], { responses_only: only }: Asked): Problem[] {
  if (only === 'all')
    return [{ field: 'model', message: 'is asked by the responses API alone; ask it by /v1/responses' }];
  if (only !== 'tools' || tools.length === 0) return [];
  return [{ field: 'tools', message: 'are taken by this model on the responses API alone; ask it by /v1/responses' }];
}
