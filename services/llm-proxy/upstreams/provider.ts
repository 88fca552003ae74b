import type { Answer, ChatRequest, Usage } from '#shared/contracts/llm.ts';
import type { Traits } from '../models/schema.ts';
import type { Endpoint } from '../models/target.ts';

export type OnBegin = (status: number, headers: Headers) => void;

type CompleteOptions = {
  model: string;
  /** Aborted when the call's time is over; its reason says why. */
  signal: AbortSignal;
  maxOutputTokens: number;
  /** What this model takes and what it refuses. */
  traits: Traits;
  /** Hears that the answer has begun to come, or that it is an error, with what the provider says of its limits. */
  onBegin?: OnBegin | undefined;
  /** Hears of each piece of the answer, whatever is in it. */
  onPiece?: (() => void) | undefined;
  /** Hears of the answer's text while it comes; what it is given together is the answer's text. */
  onText?: ((text: string) => void) | undefined;
};

/** What a provider answered: `model` is what it says it used, and `usage` is undefined where it does not say. */
export type Completion = { answer: Answer; usage: Usage | undefined; model: string };

/** Who speaks to models: one call in our contract's words, or a Failure. It neither retries nor caches. */
export type Provider = {
  complete(request: ChatRequest, options: CompleteOptions): Promise<Completion>;
};

/**
 * `fetch` for an SDK's client, which is made without the key: each request is given the key that the endpoint has then, as a client
 * would keep a copy that nobody overwrites.
 */
export function fetchFor({ apiKey }: Endpoint): typeof fetch {
  return (input, init) => {
    const headers = new Headers(init?.headers);
    const key = apiKey();
    // Both SDKs send it so.
    if (key === undefined) headers.delete('authorization');
    else headers.set('authorization', `Bearer ${key}`);
    return fetch(input, { ...init, headers });
  };
}
