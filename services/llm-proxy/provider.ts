import type { Answer, ChatRequest, Usage } from '#shared/contracts/llm.ts';

type CompleteOptions = {
  model: string;
  /** Aborted when the call's time is over. */
  signal: AbortSignal;
  maxOutputTokens: number;
};

/** What a provider answered; `model` is what it says it used. */
export type Completion = { answer: Answer; usage: Usage; model: string };

/** Who speaks to models: one call in our contract's words, or a Failure. It neither retries nor caches. */
export type Provider = {
  name: string;
  defaultModel: string;
  complete(request: ChatRequest, options: CompleteOptions): Promise<Completion>;
};
