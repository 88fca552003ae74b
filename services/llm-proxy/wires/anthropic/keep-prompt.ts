import type { JsonObject, PivotRequest } from '../pivot.ts';

/**
 * Anthropic's rules for the prompt cache (Prompt caching, read 2026-11-30): a mark at the top keeps the prompt up to its last block
 * and moves on with the conversation; at most four marks in all; one of an hour never behind one of five minutes. A prompt that is
 * too short for the model is simply not kept.
 */
const marksMax = 4;
const kept = { type: 'ephemeral' } as const;

/**
 * The body with marks for the prompt cache, which OpenAI's clients expect to work by itself: up to the last block, and up to the
 * end of what other conversations begin with as well. A client that sets marks of its own knows better, and keeps them.
 */
export function keepPrompt(body: JsonObject, { cache, wire }: Pick<PivotRequest, 'cache' | 'wire'>): JsonObject {
  const marks = marksIn(body);
  for (const block of marks.slice(0, Math.max(0, marks.length - marksMax + (cache ? 1 : 0))))
    delete block.cache_control;
  if (cache) return { ...body, cache_control: cache };
  if (marks.length > 0 || !wire.startsWith('openai')) return body;
  const { system, tools } = body;
  const marked = { ...body, cache_control: kept };
  if (typeof system === 'string') return { ...marked, system: [{ type: 'text', text: system, cache_control: kept }] };
  if (isBlocks(system)) return { ...marked, system: markLast(system) };
  return isBlocks(tools) ? { ...marked, tools: markLast(tools) } : marked;
}

const isBlocks = (value: unknown): value is JsonObject[] => Array.isArray(value) && value.length > 0;
const markLast = (blocks: JsonObject[]) =>
  blocks.map((block, at) => (at === blocks.length - 1 ? { ...block, cache_control: kept } : block));

/** Blocks with a mark, in the order of the prompt; ours to change, for the body was made here. */
function marksIn(value: unknown): JsonObject[] {
  if (Array.isArray(value)) return value.flatMap(marksIn);
  if (typeof value !== 'object' || value === null) return [];
  const { tools, system, messages, content, cache_control } = value as JsonObject;
  return [...[tools, system, messages, content].flatMap(marksIn), ...(cache_control ? [value as JsonObject] : [])];
}
