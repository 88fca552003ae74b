import type { Inert } from './canonical.ts';

// Marks for the provider's own prompt cache: they change what a call costs, and not what it says.
const marked = { cache_control: true } as const;

/**
 * What changes no answer, by wire: who asks, what it is filed under, how it is paid and cached at the provider. `model` is counted as the
 * place where the request goes. All else counts, also what only an echo in the answer shows (the metadata of `responses`), and `store`:
 * an answer that was not stored cannot be gone on from.
 */
export const inertFields = {
  'openai-chat': {
    model: true,
    user: true,
    safety_identifier: true,
    metadata: true,
    service_tier: true,
    prompt_cache_key: true,
    prompt_cache_retention: true,
  },
  'openai-responses': {
    model: true,
    user: true,
    safety_identifier: true,
    service_tier: true,
    prompt_cache_key: true,
    prompt_cache_retention: true,
  },
  anthropic: {
    model: true,
    metadata: true,
    service_tier: true,
    cache_control: true,
    system: marked,
    tools: marked,
    messages: { content: { ...marked, content: marked } },
  },
  embeddings: { model: true, user: true },
} as const satisfies Record<string, Inert>;

/** These too where no stream is asked for; in a stream its options change the bytes. */
export const unstreamed: Inert = { stream: true, stream_options: true };
