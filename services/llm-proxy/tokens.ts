import type { Answer, CallFacts, ChatRequest } from '#shared/contracts/llm.ts';

/**
 * What a prompt may bring that its own bytes do not show, on the high side: budgets and limits hold it until the call has ended.
 * A picture: what Anthropic takes for one of the largest, and OpenAI for one looked at closely.
 */
export const imageTokens = 1_600;
/** A file that the provider fetches: some ten pages, each as text and as a picture. */
export const fileTokens = 20_000;
/** Of a call that took nothing, or does not say. */
export const noUsage = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, cacheWriteTokens: 0 };

/** More tokens than most texts of so many bytes have. */
export const tokensOfBytes = (bytes: number): number => Math.ceil(bytes / 3);

/** For servers that count no tokens, so that a run's limits still hold: about four characters to a token. */
export function estimate({ system, messages, tools }: ChatRequest, answer: Answer): CallFacts['usage'] {
  const tokens = (value: unknown) => Math.ceil(JSON.stringify(value).length / 4);
  return {
    inputTokens: tokens([system, messages, tools]),
    outputTokens: tokens(answer),
    cachedInputTokens: 0,
    cacheWriteTokens: 0,
  };
}

/** The tokens of a prompt, before it is sent: a third of its characters, which most texts do not have, and what an image takes. */
export function tokensMaxOf({ system, messages, tools }: ChatRequest): number {
  const images = messages.reduce((sum, message) => sum + (message.role === 'tool' && message.image ? 1 : 0), 0);
  const chars = messages.reduce((sum, message) => sum + charsOf(message), system.length + JSON.stringify(tools).length);
  return Math.ceil(chars / 3) + images * imageTokens;
}

function charsOf(message: ChatRequest['messages'][number]): number {
  if (message.role !== 'assistant') return message.text.length;
  const calls = message.toolCalls.length > 0 ? JSON.stringify(message.toolCalls).length : 0;
  return message.text.length + calls + (message.reasoning?.length ?? 0);
}
