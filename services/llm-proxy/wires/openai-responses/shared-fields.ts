import type { JsonObject } from '../pivot.ts';

/** What chat completions and responses call alike, and mean alike: how a request is scheduled, billed and labelled (types of openai 7.57, 2026-11-30). */
const shared = [
  ...['service_tier', 'prompt_cache_key', 'prompt_cache_options', 'prompt_cache_retention'],
  ...['safety_identifier', 'metadata', 'user'],
];

/** For a chat that goes to OpenAI as a response: what the client says of these, as it says it. */
export const sharedFields = (body: JsonObject): JsonObject =>
  Object.fromEntries(shared.flatMap((name) => (name in body ? [[name, body[name]]] : [])));
