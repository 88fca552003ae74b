import type { Answer, ChatRequest, Usage } from '#shared/contracts/llm.ts';
import type { Completion } from '../wires/contract/write-answer.ts';
import { respond } from './demo/respond.ts';

const name = 'demo';

/** No language model but rules, for a first look without an API key: it reads real files and reports what stands in them. */
export function complete(request: ChatRequest, maxOutputTokens: number, onText?: (text: string) => void): Completion {
  const answer = respond(request, maxOutputTokens);
  if (answer.text) onText?.(answer.text);
  // Whatever model was asked for, it is the rules that answered.
  return { answer, usage: usageOf(request, answer), model: name };
}

/** There are no tokens: about four characters count as one, so that a run's limits hold here too. */
function usageOf({ system, messages, tools }: ChatRequest, { text, toolCalls }: Answer): Usage {
  const tokens = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4);
  return {
    inputTokens: tokens([system, messages, tools]),
    outputTokens: tokens([text, toolCalls]),
    cachedInputTokens: 0,
    cacheWriteTokens: 0,
  };
}
