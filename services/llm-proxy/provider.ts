import type { Answer, ChatRequest, Usage } from '#shared/contracts/llm.ts';
import type { Traits } from './models.ts';

type CompleteOptions = {
  model: string;
  /** Aborted when the call's time is over; its reason says why. */
  signal: AbortSignal;
  maxOutputTokens: number;
  /** What this model takes and what it refuses. */
  traits: Traits;
  /** Hears of the answer's text while it comes; what it is given together is the answer's text. */
  onText?: ((text: string) => void) | undefined;
};

/** What a provider answered: `model` is what it says it used, and `usage` is undefined where it does not say. */
export type Completion = { answer: Answer; usage: Usage | undefined; model: string };

/** Who speaks to models: one call in our contract's words, or a Failure. It neither retries nor caches. */
export type Provider = {
  name: string;
  defaultModel: string;
  complete(request: ChatRequest, options: CompleteOptions): Promise<Completion>;
};
